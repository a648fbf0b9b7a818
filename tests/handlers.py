"""The handlers that many tests serve, and what many clients do."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable

import trio
import trio.testing

import triosock


async def shout(conn: triosock.Connection) -> None:
    """Answer each line in capitals."""
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def echo(conn: triosock.Connection) -> None:
    """Answer each line with itself."""
    async for line in conn.lines():
        await conn.send_all(line)


async def echo_bytes(conn: triosock.Connection) -> None:
    """Answer whatever comes with itself."""
    async for data in conn:
        await conn.send_all(data)


async def wait_forever(_: object) -> None:
    """Neither read nor answer."""
    await trio.sleep_forever()


async def read_once(conn: triosock.Connection) -> None:
    """Wait for input, and go."""
    await conn.receive_some()


async def read_lines(conn: triosock.Connection) -> None:
    """Take each line, and do not answer."""
    async for _ in conn.lines():
        pass


async def shout_by_wait(conn: triosock.Connection) -> None:
    """As `shout`, with `wait_request` and `receive_until`."""
    while await conn.wait_request():
        await conn.send_all((await conn.receive_until(b"\n")).upper())


async def shout_in_idle(conn: triosock.Connection) -> None:
    """Answer each piece of input in capitals, and wait for the next one in an idle block."""
    while True:
        data = b""
        with conn.idle():
            data = await conn.receive_some()
        if not data:
            return
        await conn.send_all(data.upper())


def says(word: bytes) -> Callable[[triosock.Connection], Awaitable[None]]:
    """Return a handler that says this, and goes."""

    async def handler(conn: triosock.Connection) -> None:
        await conn.send_all(word)

    return handler


async def say_hello_and_wait(conn: triosock.Connection) -> None:
    """Say hello, and go after the next input."""
    await conn.send_all(b"hello")
    await conn.receive_some()


say_bye = says(b"bye")


async def say_sorry(conn: triosock.Connection) -> None:
    """For who is one too many."""
    await conn.send_all(b"full\n")


async def too_large(conn: triosock.Connection) -> None:
    """Take no line of more than four bytes."""
    async for _ in conn.lines(max_bytes=4):
        pass


async def own_bug(conn: triosock.Connection) -> None:
    """Fail after the first bytes, through no fault of the peer."""
    await conn.receive_some()
    raise ValueError("planned")


def in_a_nursery(handler: triosock.StreamHandler) -> triosock.StreamHandler:
    """Return a handler that runs this one beside a task that does not end."""

    async def grouped(conn: triosock.Connection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handler, conn)
            nursery.start_soon(trio.sleep_forever)

    return grouped


async def slow_line(conn: triosock.Connection) -> None:
    """Never answer a line."""
    async for _ in conn.lines():
        await trio.sleep_forever()


async def slow_block(conn: triosock.Connection) -> None:
    """Never answer, in a block of one second."""
    await conn.receive_some()
    async with conn.request(timeout=1):
        await trio.sleep_forever()


async def ask(client: trio.abc.Stream, question: bytes) -> bytes:
    """Send this, and return what comes next."""
    await client.send_all(question)
    return await client.receive_some()


async def ask_line(client: triosock.Connection, question: bytes) -> bytes:
    """Send this, and return the next line."""
    await client.send_all(question)
    return await client.receive_until(b"\n")


async def send_in_part(conn: triosock.Connection, size: int) -> None:
    """Begin to send more than the peer's side has room for, and be cancelled when no more can be sent."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conn.send_all, bytes(size))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def read_to_reset(stream: trio.abc.ReceiveStream) -> bytes:
    """Return what comes before a reset; an AssertionError if the stream just ends."""
    received = b""
    try:
        while data := await stream.receive_some():
            received += data
    except trio.BrokenResourceError:
        return received
    raise AssertionError(f"no reset after {received!r}")


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    received = bytearray()
    while data := await stream.receive_some():
        received += data
    return bytes(received)


def reset(client: socket.socket | trio.SocketStream) -> None:
    """Close with a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(client, trio.SocketStream):
        client.socket.close()
    else:
        client.close()
