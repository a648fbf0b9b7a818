"""One run of a handler: what is common to connections, datagrams and sessions.

The invariants:

1. **Whatever happens in the middle, the end happens**: `_close` and `_leave` are called, and then the entry
   is out of the roster.
2. **A failing handler costs its own guest.** What an `Exception` leads to is said by the table in
   `faults.py`; what is no `Exception` (a cancellation from around, Ctrl-C) is not ours to stop, and passes.
3. **Every end has one cause**, the first that was decided: see `Cause`.
4. **Who failed says no goodbye**: `_part`, which tells the peer that everything was said, is left out, unless
   `on_error` is a function and has had the last word.
5. **The handler has one scope, and the function another**: `entry.scope` is that of the one that runs. So
   what ended the handler does not end the function, which is called once at most, and a drain's deadline ends
   both.
"""

from __future__ import annotations

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

    __slots__ = ("_common", "_cut", "_entry", "_error", "_failed", "_guest", "_handler")

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
        #: It was cancelled, and nobody has answered in its place.
        self._cut = False

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
                        self._consider(error)
                    except BaseExceptionGroup as group:
                        self._consider_group(group)
                if not self._failed:
                    parting = self._part()
                    if parting is not None:
                        await parting
            if self._failed or entry.scope.cancelled_caught:
                await self._answer()
        except BaseException as error:
            self._note_passing(error)
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

    # Failures

    def _consider_group(self, group: BaseExceptionGroup[BaseException]) -> None:
        # Cancelled, and a task of the handler's failed at that: the one passes, the other is its own.
        failed, passing = group.split(Exception)
        if failed is None:
            raise group
        if self._goes_on(blame(failed, self._guest)):
            self._failed = True
            raise group
        self._consider(failed)
        assert passing is not None
        raise passing from None

    def _consider(self, error: Exception) -> None:
        """Note what the table in `faults.py` says about an exception of the handler."""
        entry, cause = self._entry, blame(error, self._guest)
        self._error = error
        # The end of who is to be answered waits for that.
        self._failed = cause in (Cause.FAILED, Cause.REQUEST) or self._is_answered(error, cause)
        if self._goes_on(cause):
            raise error
        if entry.cause is None:
            # Who was cut without a cause was so by the deadline of the scope.
            entry.cause = Cause.REQUEST if entry.scope.cancel_called else cause
        if cause is Cause.FAILED:
            self._tell(HandlerFailed, error=error)

    def _goes_on(self, cause: Cause) -> bool:
        """Whether an exception with this cause is raised further, and ends the server."""
        return cause is Cause.FAILED and self._common.on_error == "raise"

    def _is_answered(self, error: Exception, cause: Cause) -> bool:
        return callable(self._common.on_error) and is_to_be_answered(error, cause)

    def _note_passing(self, error: BaseException) -> None:
        """Note what ends more than this run."""
        is_cancelled = _is_cancellation(error)
        self._entry.cause = self._entry.cause or (Cause.PARENT if is_cancelled else Cause.FAILED)
        if is_cancelled:
            self._cut = True
        else:
            self._failed = True

    def _is_late(self) -> bool:
        """Whether it was cut since its request took too long, and has time left for an answer."""
        return self._entry.cause is Cause.REQUEST and not self._entry.is_final

    async def _answer(self) -> None:
        """Have `on_error` called, if the handler has failed or was cut and the table says so."""
        entry, on_error, error = self._entry, self._common.on_error, self._error
        if entry.scope.cancel_called:
            if entry.stage == "closing":
                return  # the handler has said everything, and this was its goodbye
            self._cut = entry.scope.cancelled_caught
            if not self._is_late() or entry.due <= trio.current_time():
                return
            late = RequestTimedOut(f"a request of {self._guest.peer} was not done in its time")
            late.__cause__ = error
            entry.cause, error = Cause.REQUEST, late
        if (
            callable(on_error)
            and isinstance(error, Exception)
            and self._is_answered(error, blame(error, self._guest))
        ):
            self._error = error
            await self._call(on_error, error)

    async def _call(self, on_error: Callable[[Exception, Any], Awaitable[object]], error: Exception) -> None:
        """Let the function have the last word, for as long as a handshake may take."""
        entry, was_broken = self._entry, self._is_broken_off()
        self._cut, self._failed = False, True
        entry.request_due = NEVER  # it has a time of its own
        entry.scope = trio.CancelScope(deadline=trio.current_time() + self._common.timeouts.handshake)
        with entry.scope:
            try:
                await on_error(error, self._guest)
            except Exception as second:  # a function that fails costs the same guest, and no more
                self._consider_second(second, was_broken)
            except BaseExceptionGroup as group:
                failed, passing = group.split(Exception)
                if failed is not None:
                    self._consider_second(failed, was_broken)
                assert passing is not None
                raise passing from None
            else:
                self._failed = False
                entry.scope.deadline = NEVER
                if (parting := self._part()) is not None:
                    await parting

    def _consider_second(self, error: Exception, was_broken: bool) -> None:
        """Tell of an exception of the function, if it is its own fault: that the peer has gone meanwhile, or
        that the handler was cut inside of a send, is not.
        """
        is_excused = was_broken and isinstance(error, trio.BrokenResourceError)
        if blame(error, self._guest) is Cause.FAILED and not is_excused:
            self._tell(HandlerFailed, error=error)

    def _is_broken_off(self) -> bool:
        """Whether a send has ended half-way, so that nothing more can be sent."""
        return False

    def _tell(self, kind: type[Any], **fields: Any) -> None:
        self._common.emitter.emit(kind, connection=self._entry.number, peer=self._guest.peer, **fields)


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_cancellation(one) for one in error.exceptions)
    return isinstance(error, trio.Cancelled)
