"""`triosock tell`, and what answers at the control socket."""

from __future__ import annotations

import socket

import pytest

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
