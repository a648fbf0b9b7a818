"""Clients that send requests without a pause, and count right and wrong answers.

An answer is right if it is of the very request; one that comes without a request, or is another's, is
"twice". A connection may end between two requests: at a moment at which nothing is asked, or with a request
that the server surely has not read, which the end of the stream, without a byte of an answer, and no reset,
tells. That is counted as `ended`; HTTP through a proxy must not even have that.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import count

import attrs
import trio

_LENGTH = re.compile(rb"content-length: (\d+)", re.I)


@attrs.define
class Tally:
    """What all clients together have seen: answers, and trouble by name."""

    wanted: int
    answers: int = 0
    trouble: Counter[str] = attrs.field(factory=Counter)
    examples: list[str] = attrs.field(factory=list)
    is_over: bool = False

    @property
    def goes_on(self) -> bool:
        return not self.is_over

    def note(self, what: str, example: object = "") -> None:
        self.trouble[what] += 1
        if what != "ended" and len(self.examples) < 10:
            self.examples.append(f"{what}: {example!r}")


async def ask_http(port: int, who: int, tally: Tally, *, may_end: bool) -> None:
    """Ask over connections that are kept, until the tally is full."""
    numbers = count()
    while tally.goes_on:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError as error:
            tally.note("refused", error)
            continue
        async with stream:
            await _ask_http_on(stream, who, numbers, tally, may_end)


async def _ask_http_on(
    stream: trio.SocketStream, who: int, numbers: count[int], tally: Tally, may_end: bool
) -> None:
    while tally.goes_on:
        target = f"/{who}-{next(numbers)}".encode()
        buffer = b""
        try:
            await stream.send_all(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            while b"\r\n\r\n" not in buffer and (data := await stream.receive_some()):
                buffer += data
            head, end, body = buffer.partition(b"\r\n\r\n")
            if not end:
                tally.note("failed" if buffer or not may_end else "ended", buffer)
                return
            size = int(match[1]) if (match := _LENGTH.search(head)) else 0
            while len(body) < size and (data := await stream.receive_some()):
                body += data
        except trio.BrokenResourceError as error:
            tally.note("reset", error.__cause__)
            return
        if not head.startswith(b"HTTP/1.1 200"):
            tally.note("failed", head.partition(b"\r\n")[0])
        elif body != target:
            tally.note("twice" if len(body) != size or body.startswith(b"/") else "failed", (target, body))
        else:
            tally.answers += 1
        if b"connection: close" in head.lower():
            return


async def ask_lines(port: int, who: int, tally: Tally) -> None:
    """Likewise with lines. Here the end of a connection may meet a request on its way."""
    numbers = count()
    while tally.goes_on:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError as error:
            tally.note("refused", error)
            continue
        async with stream:
            await _ask_lines_on(stream, who, numbers, tally)


async def _ask_lines_on(stream: trio.SocketStream, who: int, numbers: count[int], tally: Tally) -> None:
    while tally.goes_on:
        line = f"{who}-{next(numbers)}\n".encode()
        buffer = b""
        try:
            await stream.send_all(line)
            while not buffer.endswith(b"\n") and (data := await stream.receive_some()):
                buffer += data
        except trio.BrokenResourceError as error:
            tally.note("reset", error.__cause__)
            return
        if not buffer:
            tally.note("ended")
            return
        if buffer != line:
            tally.note("twice" if buffer.endswith(b"\n") else "failed", (line, buffer))
            return
        tally.answers += 1
