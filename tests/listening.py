"""What is done to listeners and to paths of sockets, without a server."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import trio
import trio.testing

from tests.waiting import fails_with
from triosock._core.datagram.socket import DatagramSocket
from triosock._core.listeners.listener import Listener


async def say_hello(listener: Listener, host: str, port: int) -> None:
    """Connect there, and hear what the listener's side says."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, listener)
        async with await trio.open_tcp_stream(host, port) as client:
            assert await client.receive_some() == b"hello"


async def answer(listener: Listener) -> None:
    """Accept one, and say hello to it."""
    async with await listener.accept() as stream:
        await stream.send_all(b"hello")


async def close_while_waited_for(listener: Listener) -> None:
    """Close it while a task waits for somebody to come, and is told so."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails_with, trio.ClosedResourceError, listener.wait_ready)
        await trio.testing.wait_all_tasks_blocked()
        listener.close()


def close_in_a_child(what: Listener | DatagramSocket) -> None:
    """Close a listener or a datagram socket in a process that is forked off, and ends then."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            what.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def denied(number: int) -> OSError:
    """What the kernel would say with this number."""
    return OSError(number, os.strerror(number))


def connects(path: Path | str) -> bool:
    """Whether somebody listens at this path."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(os.fspath(path)) == 0


def leave_stale(path: Path) -> None:
    """Leave the file of a socket that nobody has any more."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fspath(path))
        sock.listen()
