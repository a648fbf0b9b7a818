"""What several tests of the command line start from."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs import PATIENCE, Program, server_program
from tests.waiting import in_a_thread
from triosock.cli import main

SERVE = ("-m", "triosock", "serve")
ECHO = ("--handler", "triosock.cli.handlers:echo")
SHOUT = ("--handler", "triosock.cli.handlers:shout")


def serve(*words: object, **options: Any) -> contextlib.AbstractContextManager[Program]:
    """A server of the command line, as `server_program`."""
    return server_program(*SERVE, *words, **options)


def wait_for_restart(program: Program, count: int) -> None:
    """Return when so many workers have been replaced, and the old ones accept no more."""
    program.wait_for(f"restart: {count} replaced")
    program.wait_for(rf"(?s)(INFO worker \d: [^\n]*: drained in.*){{{count}}}")


@contextlib.contextmanager
def one_client(path: Path, serve: Callable[[socket.socket], object]) -> Iterator[None]:
    """Somebody listens at this path, and calls `serve` with the first client, which comes in the block."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        listener.settimeout(PATIENCE)

        def accept() -> None:
            with listener.accept()[0] as client:
                serve(client)

        with in_a_thread(accept):
            yield


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """`refused(words)`: what is said, on standard error alone, of wrong words; the exit code is 2."""

    def refuse(words: list[str]) -> str:
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        return printed.err

    return refuse
