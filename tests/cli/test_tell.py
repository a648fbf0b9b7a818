"""`triosock tell`, and what answers at the control socket."""

from __future__ import annotations

import signal
import socket
import threading

import pytest

from tests.programs import running
from tests.waiting import PATIENCE
from triosock.cli import main

from .conftest import one_client


@pytest.mark.parametrize("answer", [b"", b'{"done": "all', b"hello\n", b"[1]\n", b"{}\n"])
def test_what_is_no_answer_is_told_and_no_traceback(tmp_path, capsys, answer):
    path = tmp_path / "control"

    def answer_once(client: socket.socket) -> None:
        client.recv(1000)
        client.sendall(answer)

    with one_client(path, answer_once):
        assert main(["tell", str(path), "drain"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"triosock: {path} ")


def test_ctrl_c_while_it_waits_for_the_answer_ends_it_quietly(tmp_path):
    path = tmp_path / "control"
    asked = threading.Event()

    def answer_nothing(client: socket.socket) -> None:
        client.recv(1000)
        asked.set()
        client.recv(1)

    with one_client(path, answer_nothing), running("-m", "triosock", "tell", path, "restart") as program:
        assert asked.wait(PATIENCE)
        program.signal(signal.SIGINT)
        assert program.wait() == 128 + signal.SIGINT
    assert program.output == ""
