"""One run of a handler: what is common to connections, datagrams and sessions.

The invariants:

1. **Whatever happens in the middle, the end happens**: `_close` and `_leave` are called, and then the entry
   is out of the roster.
2. **A failing handler costs its own guest.** An `Exception` is an event; what is no `Exception` (a
   cancellation from around, Ctrl-C) is not ours to stop, and passes.
3. **Every end has one cause**, the first that was decided: see `Cause`.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import attrs
import trio

from ..model.config import Limits, Timeouts
from ..model.emitter import Emitter
from ..model.errors import PeerError, RequestTimedOut
from ..model.events import Cause, ConnectionClosed, HandlerFailed, Refused
from ..registry.registry import Entry, Roster
from ..transport.stream_adapter import StreamWire

if TYPE_CHECKING:
    from ..model.addresses import Address

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

#: What to do about the `Exception` of a handler; the function's second argument is what the handler was
#: given.
AnyOnError: TypeAlias = Literal["log", "raise"] | Callable[[Exception, Any], Awaitable[object]]


class Guest(Protocol):
    """What a handler is given: it knows its peer, and what carries its bytes."""

    @property
    def peer(self) -> Address:
        """The other side."""
        raise NotImplementedError

    @property
    def wire(self) -> Any:
        """What carries its bytes: `received` and `sent`, whether it `is_closed`, and the `failure` that was
        the peer's.
        """


@attrs.frozen(kw_only=True)
class Common:
    """What all runs of one server's handler have in common."""

    handler: Callable[[Any], Awaitable[object]]
    on_error: AnyOnError
    limits: Limits
    timeouts: Timeouts
    roster: Roster
    emitter: Emitter


class Turn:
    """One run of a handler. `run()` is its task."""

    __slots__ = ("_common", "_entry", "_error", "_guest", "_handler")

    #: What the handler is given, in words.
    takes = "one argument"

    def __init__(
        self, common: Common, guest: Any, entry: Entry, handler: Callable[[Any], Awaitable[object]]
    ) -> None:
        self._common = common
        self._guest = guest
        self._entry = entry
        self._handler = handler
        self._error: BaseException | None = None

    async def run(self) -> None:
        """Serve the guest; return when it is closed and no longer counted."""
        entry = self._entry
        entry.task = trio.lowlevel.current_task()
        try:
            with entry.scope:
                # All in one coroutine: each layer costs about a percent of a short connection.
                opening = self._open()
                if opening is None or await opening:
                    try:
                        awaitable = self._handler(self._guest)
                        # The usual case is told by its exact type, which is cheaper than asking whether it is
                        # any awaitable.
                        if type(awaitable) is not CoroutineType and not isinstance(awaitable, Awaitable):
                            raise NotAwaitable(self._handler, self.takes, awaitable)
                        await awaitable
                        del awaitable  # nobody is to hold it through the goodbye
                    except NotAwaitable:
                        raise  # no peer can cause it or cure it: the program is wrong, and must hear so
                    except Exception as error:  # a failing handler costs its own guest: rule 2
                        await self._consider(error)
                    except BaseExceptionGroup as group:
                        await self._consider_group(group)
                parting = self._part()
                if parting is not None:
                    await parting
        except BaseException as error:
            if entry.cause is None:
                entry.cause = Cause.PARENT if _is_cancellation(error) else Cause.FAILED
            raise
        finally:
            try:
                rest = self._close()
                if rest is not None:
                    await rest
            finally:
                self._leave()

    def _open(self) -> Awaitable[bool] | None:
        """Do what comes before the handler, or return what does, and then tells whether the handler is to
        run.
        """
        return None

    async def _wait_slot(self) -> bool:
        """What `_open` returns for an entry that is queued."""
        await self._common.roster.wait_slot(self._entry)
        self._entry.stage = "serving"
        return True

    def _part(self) -> Awaitable[None] | None:
        """Do what comes after the handler, or return what does."""
        return None

    def _close(self) -> Awaitable[None] | None:
        """Close what is the guest's own, or return what does: no checkpoint, and not to be cancelled."""
        return None

    def _leave(self) -> None:
        """Count and tell. Synchronous: an entry leaves the roster in the moment in which it is closed."""
        entry, roster, emitter, wire = (
            self._entry,
            self._common.roster,
            self._common.emitter,
            self._guest.wire,
        )
        tally = roster.tally
        tally.received += wire.received
        tally.sent += wire.sent
        if entry.stage == "queued":
            tally.refused["drain"] += 1
            emitter.emit(Refused, peer=entry.peer, reason="drain")
        else:
            entry.cause = entry.cause or Cause.FINISHED
            tally.ended[entry.cause] += 1
        roster.remove(entry)
        entry.task = entry.guest = None  # no cycles: what is over is freed at once
        if emitter.wants_end(entry.cause or Cause.DRAIN):
            self._tell(
                ConnectionClosed,
                cause=entry.cause or Cause.DRAIN,
                received=wire.received,
                sent=wire.sent,
                duration=trio.current_time() - entry.accepted,
                error=self._error,
            )

    async def _consider_group(self, group: BaseExceptionGroup[BaseException]) -> None:
        # Cancelled, and a task of the handler's failed at that: the one passes, the other is its own.
        failed, passing = group.split(Exception)
        if failed is None or self._common.on_error == "raise":
            raise group
        await self._consider(failed)
        assert passing is not None
        raise passing from None

    async def _consider(self, error: Exception) -> None:
        """Decide whose fault it was, and do what `on_error` says if it was the handler's."""
        on_error = self._common.on_error
        self._error = error
        if on_error == "raise":
            raise error
        cause = blame(error, self._guest)
        self._entry.cause = self._entry.cause or cause
        if cause is not Cause.FAILED:
            return
        self._tell(HandlerFailed, error=error)
        if callable(on_error):
            try:
                await on_error(error, self._guest)
            except Exception as second:  # an error handler that fails costs the same guest, and no more
                self._tell(HandlerFailed, error=second)
            except BaseExceptionGroup as group:
                failed, passing = group.split(Exception)
                if failed is not None:
                    self._tell(HandlerFailed, error=failed)
                assert passing is not None
                raise passing from None

    def _tell(self, kind: type[Any], **fields: Any) -> None:
        self._common.emitter.emit(kind, connection=self._entry.number, peer=self._guest.peer, **fields)


class NotAwaitable(TypeError):
    """The handler returned something that cannot be awaited."""

    def __init__(self, handler: object, takes: str, result: object) -> None:
        super().__init__(
            f"handler must be an async function of {takes}: {handler!r} returned {result!r}, "
            "which cannot be awaited"
        )


_GRAVEST_FIRST = (Cause.FAILED, Cause.REQUEST, Cause.PEER, Cause.FINISHED)


def blame(error: BaseException, guest: Guest) -> Cause:
    """Return whose doing an exception of the handler was: PEER, REQUEST (its deadline), or FAILED (the
    handler's own).
    """
    if isinstance(error, ExceptionGroup):
        causes = {blame(one, guest) for one in error.exceptions}
        # If one of several tasks went wrong by itself, the others' peers do not excuse it.
        return next(cause for cause in _GRAVEST_FIRST if cause in causes)
    if isinstance(error, RequestTimedOut):
        return Cause.REQUEST
    if isinstance(error, PeerError):
        return Cause.PEER
    wire = guest.wire
    if isinstance(error, trio.BrokenResourceError) and (
        isinstance(wire, StreamWire)
        or (wire.failure is not None and wire.failure in (error, error.__cause__))
    ):
        # Only of this guest: a handler that talks to others may fail at their end, and that is its own
        # affair.
        return Cause.PEER
    if isinstance(error, trio.ClosedResourceError) and wire.is_closed:
        return Cause.FINISHED  # by abort() or aclose(), from another task of the program
    return Cause.FAILED


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_cancellation(one) for one in error.exceptions)
    return isinstance(error, trio.Cancelled)
