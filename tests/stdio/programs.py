"""A program that serves its standard input and output, and the ways of starting it."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trustme

from tests.pairs import blocking_pair
from tests.programs import PATIENCE, ROOT

#: Answers lines; the first words say what it is to do with one.
PROGRAM = """
import logging, os, sys, trio, triosock
logging.basicConfig(level="INFO", format="%(message)s")

async def handle(conn):
    async for line in conn.lines():
        match line.split():
            case [b"who"]:
                await conn.send_all(f"{conn.peer}\\n".encode())
            case [b"say"]:
                print("this is no part of the stream", flush=True)
                print("nor is this", file=sys.stderr, flush=True)
                await conn.send_all(b"said\\n")
            case [b"fail"]:
                await conn.send_all(b"half an")
                raise ValueError("the handler is wrong")
            case [b"bye"]:
                await conn.send_all(b"goodbye\\n")
                return
            case [b"sleep"]:
                await conn.send_all(b"sleeping\\n")
                await trio.sleep(0.5)
                await conn.send_all(b"slept\\n")
            case [b"blocking"]:
                flags = [os.get_blocking(one) for one in (0, 1, 2)]
                await conn.send_all(f"{flags}\\n".encode())
            case _:
                await conn.send_all(line.upper())

"""
RUN = PROGRAM + "triosock.run(triosock.serve_stdio, handle, grace=20)\n"


def with_tls(folder: Path) -> tuple[str, ssl.SSLContext]:
    """The program that serves under TLS, as server.test, and the context of a client that trusts it."""
    authority = trustme.CA()
    authority.issue_cert("server.test").private_key_and_cert_chain_pem.write_to_path(folder / "cert.pem")
    program = PROGRAM + (
        "import ssl\ncontext = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)\n"
        f"context.load_cert_chain({str(folder / 'cert.pem')!r})\n"
        "triosock.run(triosock.serve_stdio, handle, tls=context)\n"
    )
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return program, trusting


def start(program: str = RUN, **options: Any) -> Any:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(program)]
    options.setdefault("env", {**os.environ, "PYTHONPATH": str(ROOT)})
    return subprocess.Popen(command, cwd=ROOT, **options)


@contextlib.contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[Any]:
    """Wait for the process at the end of the block, and kill it, by its id, if it does not end."""
    try:
        yield process
        process.wait(PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def piped(said: bytes, program: str = RUN) -> tuple[int, bytes, bytes]:
    """Return exit code, output and errors of a program with pipes."""
    with ending(start(program, stdin=-1, stdout=-1, stderr=-1)) as process:
        out, errors = process.communicate(said, PATIENCE)
        return process.returncode, out, errors


@contextlib.contextmanager
def inetd(program: str = RUN, *, stderr: Any = None) -> Iterator[tuple[socket.socket, Any]]:
    """Give a client, and the process that was started for it, with its socket as stdin, stdout and stderr."""
    client, accepted = blocking_pair()
    with client, accepted:
        client.settimeout(PATIENCE)
        process = start(program, stdin=accepted, stdout=accepted, stderr=stderr or accepted)
        accepted.close()
        with ending(process):
            yield client, process


def check_inetd(program: str) -> None:
    """A client of this program, which shouts, hears its answer and nothing else; SIGTERM ends both."""
    with inetd(program) as (client, process):
        assert ask(client, b"hello\n") == b"HELLO\n"
        process.terminate()
        assert client.recv(100) == b""
    assert process.returncode == 0


def ask(client: socket.socket, line: bytes) -> bytes:
    client.sendall(line)
    return line_of(client)


def line_of(client: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(b"\n"):
        data = client.recv(1)
        assert data, answer
        answer += data
    return answer
