"""Tools for the checks of the exercises: clients that compare what they receive, and the verdict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
import trio

from triosock import Connection, FrameTooLarge, Incomplete
from triosock.events import HandlerFailed
from triosock.testing import OpenServer

#: Seconds that an answer may take; no exercise needs so many.
SOON: Final = 3.0


#: Reported for a handler that does not stop sending.
ENDLESS: Final = "more than 65,536 bytes without a line's end"


class Wrong(Exception):
    """What is wrong with a solution, and a hint."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what, hint)
        self.what = what
        self.hint = hint


@attrs.frozen(kw_only=True)
class Exercise:
    """One exercise: its text, the names that a solution defines, and its check."""

    task: str
    names: tuple[str, ...]
    #: The checker runs an async function by trio.run; a plain one starts its own trio program.
    check: Callable[[Any], Awaitable[None]] | Callable[[Any], None]
    praise: str
    virtual_time: bool = True


def causes(error: BaseException) -> list[BaseException]:
    """Return the errors in a group, and in the groups in it; or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        group: BaseExceptionGroup[Any] = error
        return [cause for one in group.exceptions for cause in causes(one)]
    return [error]


async def hear(client: Connection, seconds: float = SOON) -> str:
    """Return the next line without its newline, or a description of what came instead."""
    with trio.move_on_after(seconds):
        try:
            return (await client.receive_until(b"\n")).decode().rstrip("\n")
        except Incomplete as error:
            return f"{error.partial!r} without a line's end" if error.partial else "the end of the connection"
        except FrameTooLarge:
            return ENDLESS
        except trio.BrokenResourceError:
            return "a reset"
    return f"nothing in {seconds:g} s"


async def want(
    wanted: str, client: Connection, done: str, hint: str, served: OpenServer | None = None
) -> None:
    """Raise Wrong if the next line is not this one. `done` says what the client did."""
    heard = await hear(client)
    if heard == wanted:
        return
    if heard == "":
        hint = "An empty line came: what lines() and receive_until() return ends with its newline already."
    failed = served.recorder.of(HandlerFailed) if served is not None else []
    if failed:
        error = causes(failed[-1].error)[0]
        hint = f"Your handler raised {type(error).__name__}: {error}."
    raise Wrong(f"{done}: wanted {wanted!r}, got {heard!r}", hint)


async def send(client: Connection, data: bytes) -> None:
    """Send, and ignore that the server has hung up: the next receive shows it."""
    try:
        await client.send_all(data)
    except trio.BrokenResourceError:
        pass


async def echo(conn: Connection) -> None:
    """A handler for exercises about servers."""
    async for line in conn.lines():
        await conn.send_all(line)


async def want_reversed(
    client: Connection, data: bytes, before: bytes, done: str, hint: str, served: OpenServer
) -> None:
    """Send the end of a request of eight bytes, and raise Wrong unless its answer is it reversed."""
    await send(client, data)
    answer = b""
    with trio.move_on_after(SOON):
        try:
            answer = await client.receive_exactly(8)
        except (Incomplete, trio.BrokenResourceError):
            answer = b"the end of the connection"
    wanted = (before + data)[::-1]
    if answer != wanted:
        failed = served.recorder.of(HandlerFailed)
        hint = f"Your handler raised {failed[-1].error!r}." if failed else hint
        raise Wrong(f"{done}: wanted {wanted!r}, got {answer or 'nothing'!r}", hint)
