"""`triosock top` at a socket of somebody else: nothing of it reaches the terminal as it is, and it says so in
a line.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.programs import own_environment, python

from .conftest import one_client

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
NODE: dict[str, Any] = {
    **dict.fromkeys(("name", "state", "peer", "due_to", "where"), ""),
    "kind": "run",
    "age": None,
    "due": None,
    "counts": [],
    "more": 0,
    "children": [],
}


def top(answer: bytes, folder: Path, **environment: str) -> CompletedProcess[str]:
    path = folder / "socket"

    def serve(client: socket.socket) -> None:
        client.recv(1_000)
        client.sendall(answer + b"\n")
        client.recv(1_000)

    with one_client(path, serve):
        return python("-m", "triosock", "top", path, "--once", env=own_environment(**environment))


@pytest.mark.parametrize("field", ["kind", "name", "state", "peer", "where", "due_to", "counts"])
def test_no_field_reaches_the_terminal_as_it_is(field: str, tmp_path: Path) -> None:
    value: Any = [[ESCAPE, 1]] if field == "counts" else ESCAPE
    tree = {**NODE, "due": 1.0, field: value}
    done = top(json.dumps({"tree": tree}).encode(), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert r"\x1b]0;owned\x07" in done.stdout


def test_a_character_that_the_terminal_has_not_is_shown_as_an_escape(tmp_path: Path) -> None:
    tree = {**NODE, "name": "\u4e2d"}
    done = top(json.dumps({"tree": tree}).encode(), tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"run \u4e2d" in done.stdout


NESTED = b"[" * 200_000
WRONG = {
    "error": json.dumps({"error": ESCAPE}).encode(),
    "age": json.dumps({"tree": {**NODE, "age": "x"}}).encode(),
    "infinite": json.dumps({"tree": {**NODE, "age": float("inf")}}).encode(),
    "too large for a float": json.dumps({"tree": {**NODE, "age": 10**400}}).encode(),
    "thousands of digits": json.dumps({"tree": {**NODE, "more": 10**4_000}}).encode(),
    "more": json.dumps({"tree": {**NODE, "more": True}}).encode(),
    "children": json.dumps({"tree": {**NODE, "children": [1]}}).encode(),
    "unknown": json.dumps({"tree": {**NODE, ESCAPE: 1}}).encode(),
    "missing": json.dumps({"tree": {"kind": "run"}}).encode(),
    "list": b"[1]",
    "nested": NESTED,
    "deep": (b'{"tree": ' + b'{"children": [' * 2_000 + b"]}" * 2_000 + b"}"),
    "bytes": b"\xff\xfe{",
    "nothing": b"",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_answer_is_said_in_one_line(wrong: str, tmp_path: Path) -> None:
    done = top(WRONG[wrong], tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("triosock: this is no control socket of triosock: the answer is ")
    assert len(done.stderr.splitlines()) == 1
    assert "\x1b" not in done.stderr
