"""`triosock tell`, and what answers at the control socket."""

from __future__ import annotations

import socket
import threading

import pytest

from triosock.cli import main


@pytest.mark.parametrize("answer", [b"", b'{"done": "all', b"hello\n", b"[1]\n", b"{}\n"])
def test_what_is_no_answer_is_told_and_no_traceback(tmp_path, capsys, answer):
    path = str(tmp_path / "control")

    def answer_once() -> None:
        conn, _ = listener.accept()
        with conn:
            conn.recv(1000)
            conn.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=answer_once)
        thread.start()
        assert main(["tell", path, "drain"]) == 1
        thread.join()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"triosock: {path} ")
