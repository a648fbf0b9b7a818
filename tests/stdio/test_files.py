"""Standard input and output of real processes: pipes, files, a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.programs import PATIENCE
from tests.stdio.programs import RUN, ask, ending, piped, start, with_tls

# Pipes and files


def test_pipes_are_a_connection_without_an_address() -> None:
    code, out, errors = piped(b"hello\nwho\nno end of a line")
    assert (code, out) == (0, b"HELLO\nmemory://stdio\nNO END OF A LINE")
    assert errors.startswith(b"memory://stdio: listens on memory://stdio\n")


def test_the_program_ends_when_the_handler_has_returned_though_stdin_is_open() -> None:
    with ending(start(stdin=-1, stdout=-1, stderr=-1)) as process:
        process.stdin.write(b"bye\nwhat is left is not read\n")
        process.stdin.flush()
        assert process.stdout.read() == b"goodbye\n"
        assert process.wait(PATIENCE) == 0


def test_files_are_read_from_where_they_stand_and_appended_to(tmp_path: Any) -> None:
    (tmp_path / "in").write_bytes(b"skipped\nhello\n")
    (tmp_path / "out").write_bytes(b"before\n")
    with open(tmp_path / "in", "rb") as reading, open(tmp_path / "out", "ab") as writing:
        os.lseek(reading.fileno(), len(b"skipped\n"), os.SEEK_SET)
        with ending(start(stdin=reading, stdout=writing, stderr=subprocess.DEVNULL)) as process:
            pass
        assert process.returncode == 0
    assert (tmp_path / "out").read_bytes() == b"before\nHELLO\n"


def test_who_reads_no_more_is_gone_and_that_is_no_error_of_the_program() -> None:
    with ending(start(stdin=-1, stdout=-1, stderr=-1)) as process:
        process.stdout.close()
        process.stdin.write(b"hello\n" * 100)
        process.stdin.close()
        errors = process.stderr.read()
        assert process.wait(PATIENCE) == 0
        assert b"Traceback" not in errors


def test_a_signal_ends_an_idle_one_and_lets_a_busy_one_finish() -> None:
    for said, expected in ((b"hello\n", b"HELLO\n"), (b"sleep\n", b"sleeping\n")):
        with ending(start(stdin=-1, stdout=-1, stderr=-1)) as process:
            process.stdin.write(said)
            process.stdin.flush()
            assert process.stdout.readline() == expected
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
            assert process.wait(PATIENCE) == 0
            assert rest == (b"slept\n" if said == b"sleep\n" else b"")


@pytest.mark.parametrize("closed", [0, 1])
def test_without_stdin_or_stdout_it_says_so(closed: int) -> None:
    with ending(start(preexec_fn=lambda: os.close(closed), stderr=-1)) as process:
        errors = process.stderr.read()
        assert process.wait(PATIENCE) == 1
        assert b"ValueError: there is no standard input or output" in errors


def test_tls_over_pipes_ends_with_a_close_notify(tmp_path: Any) -> None:
    program, trusting = with_tls(tmp_path)
    received, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(received, said, server_hostname="server.test")
    with ending(start(program, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL)) as process:
        for step in (client.do_handshake, lambda: client.write(b"bye\n"), client.read, client.read):
            while True:
                try:
                    heard = step()
                    break
                except ssl.SSLWantReadError:
                    process.stdin.write(said.read())
                    process.stdin.flush()
                    data = os.read(process.stdout.fileno(), 10_000)
                    received.write(data) if data else received.write_eof()
    assert heard == b""  # without a close_notify it would be an SSLEOFError


# Whether files block is everybody's


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: ours, and the program's."""
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def ask_terminal(terminal: int, answer: bytes) -> None:
    """Ask there which descriptors block, and wait until it shows this."""
    os.write(terminal, b"blocking\n")
    shown = b""
    while answer not in shown:
        assert select.select([terminal], [], [], PATIENCE)[0], shown
        shown += os.read(terminal, 1000)


def test_a_terminal_is_left_as_it_was_also_meanwhile(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    with ending(start(stdin=theirs, stdout=theirs, stderr=theirs)) as process:
        ask_terminal(ours, b"[True, True, True]")
        assert os.get_blocking(theirs)
        process.kill()  # nothing of ours runs after that
    assert os.get_blocking(theirs)


@pytest.mark.parametrize("blocking", [True, False])
def test_what_cannot_be_opened_anew_is_put_back_at_the_end(terminal: tuple[int, int], blocking: bool) -> None:
    program = (
        "import os\nreal = os.open\n"
        "def no_proc(path, *args, **more):\n"
        "    if str(path).startswith('/proc/self/fd'): raise PermissionError(13, 'no')\n"
        "    return real(path, *args, **more)\n"
        "os.open = no_proc\n" + RUN
    )
    ours, theirs = terminal
    os.set_blocking(theirs, blocking)
    with ending(start(program, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)) as process:
        ask_terminal(ours, b"[False, False, True]")
        os.write(ours, b"bye\n")
    assert process.returncode == 0
    assert os.get_blocking(theirs) is blocking


def test_a_socket_that_others_hold_is_left_as_it_was() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with ending(start(stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)):
            ours.settimeout(PATIENCE)
            assert ask(ours, b"hello\n") == b"HELLO\n"
            assert not os.get_blocking(theirs.fileno())
            assert ask(ours, b"bye\n") == b"goodbye\n"
            ours.shutdown(socket.SHUT_WR)
        assert os.get_blocking(theirs.fileno())
