"""One run of a handler: what is common to connections, datagrams and sessions.

The invariants:

1. **Whatever happens in the middle, the end happens**: `_close` and `_leave` are called, and then the entry
   is out of the roster.
2. **A failing handler costs its own guest.** What an `Exception` leads to is said by the table in
   `faults.py`; what is no `Exception` (a cancellation from around, Ctrl-C) is not ours to stop, and passes.
3. **Every end has one cause**, the first that was decided: see `Cause`.
4. **Who failed says no goodbye**: `_part`, which tells the peer that everything was said, is left out, unless
   `on_error` is a function and has had the last word.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, Literal, TypeAlias

import attrs
import trio

from ..model.config import Limits, Timeouts
from ..model.emitter import Emitter
from ..model.errors import RequestTimedOut
from ..model.events import Cause, ConnectionClosed, HandlerFailed, Refused
from ..registry.registry import NEVER, Entry, Roster
from .faults import NotAwaitable, blame, is_to_be_answered

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

#: What to do about the `Exception` of a handler; the function's second argument is what the handler was
#: given.
AnyOnError: TypeAlias = Literal["log", "raise"] | Callable[[Exception, Any], Awaitable[object]]


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

    __slots__ = ("_common", "_entry", "_error", "_failed", "_guest", "_handler")

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
        #: The handler has failed, and nobody has answered in its place.
        self._failed = False

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
                if not self._failed:
                    parting = self._part()
                    if parting is not None:
                        await parting
            if entry.scope.cancelled_caught and callable(self._common.on_error) and self._is_late():
                await self._answer_late()
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

    def _goes_on(self, cause: Cause) -> bool:
        """Whether an exception with this cause is raised further, and ends the server."""
        return cause is Cause.FAILED and self._common.on_error == "raise"

    async def _consider_group(self, group: BaseExceptionGroup[BaseException]) -> None:
        # Cancelled, and a task of the handler's failed at that: the one passes, the other is its own.
        failed, passing = group.split(Exception)
        if failed is None or (
            self._common.on_error == "raise" and blame(failed, self._guest) is Cause.FAILED
        ):
            self._failed = True
            raise group
        await self._consider(failed)
        assert passing is not None
        raise passing from None

    async def _consider(self, error: Exception) -> None:
        """Do what the table in `faults.py` says about an exception of the handler."""
        on_error, cause = self._common.on_error, blame(error, self._guest)
        self._error = error
        self._failed = cause in (Cause.FAILED, Cause.REQUEST)
        if self._goes_on(cause):
            raise error
        self._entry.cause = self._entry.cause or cause
        if cause is Cause.FAILED:
            self._tell(HandlerFailed, error=error)
        if callable(on_error) and is_to_be_answered(error, cause):
            await self._answer(on_error, error)

    async def _answer(
        self, on_error: Callable[[Exception, Any], Awaitable[object]], error: Exception
    ) -> None:
        """Let the function have the last word, for as long as a handshake may take."""
        try:
            with trio.move_on_after(self._common.timeouts.handshake) as patience:
                await on_error(error, self._guest)
            self._failed = patience.cancelled_caught
        except Exception as second:  # an error handler that fails costs the same guest, and no more
            self._failed = True
            self._tell(HandlerFailed, error=second)
        except BaseExceptionGroup as group:
            self._failed = True
            failed, passing = group.split(Exception)
            if failed is not None:
                self._tell(HandlerFailed, error=failed)
            assert passing is not None
            raise passing from None

    def _is_late(self) -> bool:
        """Whether it was cut since its request took too long, and has time left for an answer."""
        return self._entry.cause is Cause.REQUEST and not self._entry.is_final

    async def _answer_late(self) -> None:
        """The same for one that was cut at the end of its request's time."""
        entry, on_error = self._entry, self._common.on_error
        assert callable(on_error)
        entry.request_due = NEVER  # or it would be cut again
        entry.scope = trio.CancelScope()
        with entry.scope:
            error = RequestTimedOut(f"a request of {self._guest.peer} was not done in its time")
            self._error = error
            await self._answer(on_error, error)
            if not self._failed and (parting := self._part()) is not None:
                await parting

    def _tell(self, kind: type[Any], **fields: Any) -> None:
        self._common.emitter.emit(kind, connection=self._entry.number, peer=self._guest.peer, **fields)


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_cancellation(one) for one in error.exceptions)
    return isinstance(error, trio.Cancelled)
