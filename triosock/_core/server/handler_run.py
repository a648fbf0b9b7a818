"""One run of a handler: what connections, datagrams and sessions have in common.

Each of them has one function `run`, which is its life, read from top to bottom. The methods here are the
steps of that function; none of them calls back.

The invariants:

1. **Every run ends with `unregister`**, in a `finally`.
2. **A handler that raises ends only its own connection.** The table in `faults.py` says what an `Exception`
   leads to; other exceptions (a cancellation from outside, Ctrl-C) pass.
3. **Every end has one cause**, the first that was decided: see `Cause`.
4. **A failed run has no proper end**: no end of stream is sent, unless `on_error` is a function and has
   returned.
5. **The handler has one scope, and the `on_error` function another**: `entry.scope` is that of the one that
   runs. So what ended the handler does not end the function, which is called at most once, and the deadline
   of a drain ends both.
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
from ..model.events import Cause, ConnectionClosed, Event, HandlerFailed, Refused
from ..registry.registry import NEVER, Entry, Registry
from ..registry.served import Served
from .faults import NotAwaitable, blame, is_send_of_closer, is_to_be_answered

#: A handler of whatever is served.
AnyHandler: TypeAlias = Callable[[Any], Awaitable[object]]
#: What to do about the `Exception` of a handler; the function's second argument is what the handler was
#: given.
AnyOnError: TypeAlias = Literal["log", "raise"] | Callable[[Exception, Any], Awaitable[object]]


@attrs.frozen(kw_only=True)
class Common:
    """What all runs of one server's handler have in common."""

    handler: AnyHandler
    on_error: AnyOnError
    limits: Limits
    timeouts: Timeouts
    registry: Registry
    emitter: Emitter


class HandlerRun:
    """One run of a handler; a subclass has the function `run`, its task."""

    __slots__ = ("_common", "_cut", "_entry", "_error", "_failed", "_handler", "_served")

    #: What the handler is given, in words.
    takes = "one argument"

    def __init__(self, common: Common, served: Served, entry: Entry, handler: AnyHandler) -> None:
        self._common = common
        self._served = served
        self._entry = entry
        self._handler = handler
        self._error: BaseException | None = None
        #: The handler has failed, and `on_error` has not answered.
        self._failed = False
        #: It was cancelled, and `on_error` has not answered.
        self._cut = False

    async def call_handler(self) -> None:
        """Call the handler, and note what its exception leads to. A connection has the same code in its
        `run`, since a coroutine costs about a percent of a short connection.
        """
        try:
            awaitable = self._handler(self._served)
            if type(awaitable) is not CoroutineType:  # asked first since it is cheap
                self.check_awaitable(awaitable)
            await awaitable
        except BaseException as error:  # `consider` says which of them pass
            if not self.consider(error):
                raise

    def check_awaitable(self, result: object) -> None:
        """Raise NotAwaitable unless what the handler has returned can be awaited."""
        if not isinstance(result, Awaitable):
            raise NotAwaitable(self._handler, self.takes, result)

    async def wait_slot(self) -> None:
        """Wait until an entry that is queued may be served."""
        await self._common.registry.wait_slot(self._entry)
        self._entry.stage = "serving"

    async def answer(self) -> None:
        """Call `on_error`, if the handler has failed or was cut and the table says so."""
        error = self.error_to_answer()
        if error is not None:
            with self.begin_answer():
                await self.call_on_error(error)

    def unregister(self) -> None:
        """Count the end and emit `ConnectionClosed`. Synchronous: an entry leaves the registry in the moment
        in which it is closed.
        """
        entry, emitter, wire, tally = (
            self._entry,
            self._common.emitter,
            self._served.wire,
            self._common.registry.tally,
        )
        tally.received += wire.received
        tally.sent += wire.sent
        if entry.stage == "queued":
            tally.refused["drain"] += 1
            emitter.emit(Refused, peer=entry.peer, reason="drain")
        else:
            entry.cause = entry.cause or Cause.FINISHED
            tally.ended[entry.cause] += 1
        self._common.registry.remove(entry)
        if emitter.wants_end(entry.cause or Cause.DRAIN):
            self.tell(
                ConnectionClosed,
                cause=entry.cause or Cause.DRAIN,
                received=wire.received,
                sent=wire.sent,
                duration=trio.current_time() - entry.accepted,
                error=self._error,
            )
        self._break_cycles()

    def _break_cycles(self) -> None:
        """Forget what leads back here, so that all of this is freed with its last reference, and nothing is
        left to the garbage collector. (The traceback of an error leads to the frames of this run.)
        """
        self._entry.task = self._entry.served = None
        self._error = self._served.wire.failure = None

    def tell(self, kind: type[Event], **fields: object) -> None:
        """Emit an event about this run."""
        self._common.emitter.emit(kind, connection=self._entry.number, peer=self._served.peer, **fields)

    # Failures

    def consider(self, error: BaseException) -> bool:
        """Note what the table in `faults.py` says about an exception of the handler; return whether it stops
        here. Raises the part of a group that must pass.
        """
        if isinstance(error, NotAwaitable):
            return False  # the program is wrong, and no peer is involved
        if isinstance(error, Exception):
            return self._is_stopped(error)
        if not isinstance(error, BaseExceptionGroup):
            return False
        # The handler was cancelled, and one of its tasks failed: the cancellation passes, the failure stops
        # here.
        failed, passing = error.split(Exception)
        if failed is None or not self._is_stopped(failed):
            return False
        assert passing is not None
        raise passing from None

    def _is_stopped(self, error: Exception) -> bool:
        entry, cause = self._entry, self._blame(error)
        self._error = error
        # A connection that `on_error` answers is ended after the answer.
        self._failed = cause in (Cause.FAILED, Cause.REQUEST) or self._is_answered(error, cause)
        if cause is Cause.FAILED and self._common.on_error == "raise":
            return False
        if entry.cause is None:
            # A cancelled scope without a cause: its deadline, that of the request, has passed.
            entry.cause = Cause.REQUEST if entry.scope.cancel_called else cause
        if cause is Cause.FAILED:
            self.tell(HandlerFailed, error=error)
        return True

    def _blame(self, error: Exception) -> Cause:
        cause = blame(error, self._served)
        if cause is Cause.FINISHED and is_send_of_closer(error, self._entry):
            return Cause.FAILED
        return cause

    def _is_answered(self, error: Exception, cause: Cause) -> bool:
        return callable(self._common.on_error) and is_to_be_answered(error, cause)

    def note_passing(self, error: BaseException) -> None:
        """Note what ends more than this run."""
        is_cancelled = _is_cancellation(error)
        self._entry.cause = self._entry.cause or (Cause.PARENT if is_cancelled else Cause.FAILED)
        if is_cancelled:
            self._cut = True
        else:
            self._failed = True

    def error_to_answer(self) -> Exception | None:
        """Return the exception that `on_error` is to be called with; None if it is not to be called."""
        entry, error = self._entry, self._error
        if entry.scope.cancel_called:
            if entry.stage == "closing":
                return None  # the handler has returned, and this was the lingering close
            self._cut = entry.scope.cancelled_caught
            # Cut since its request took too long (without a cause: by the deadline of the scope), and with
            # time left for an answer.
            is_late = entry.cause in (None, Cause.REQUEST) and not entry.is_final
            if not is_late or entry.due <= trio.current_time():
                return None
            late = RequestTimedOut(f"a request of {self._served.peer} was not done in its time")
            late.__cause__ = error
            entry.cause, error = Cause.REQUEST, late
        if not isinstance(error, Exception) or not self._is_answered(error, self._blame(error)):
            return None
        self._error = error
        return error

    def begin_answer(self) -> trio.CancelScope:
        """Return the scope for `on_error`, which has as long as a handshake may take."""
        entry = self._entry
        self._cut, self._failed = False, True
        entry.request_due = NEVER  # it has a time of its own
        entry.scope = trio.CancelScope(deadline=trio.current_time() + self._common.timeouts.handshake)
        return entry.scope

    async def call_on_error(self, error: Exception, *, was_broken: bool = False) -> None:
        """Call the function. Afterwards `_failed` says whether it has failed as well.

        `was_broken`: a send of the handler had ended half-way, or one of another task was in progress, so
        that nothing more can be sent.
        """
        on_error = self._common.on_error
        assert callable(on_error)
        try:
            await on_error(error, self._served)
        except Exception as second:  # a function that raises ends the same connection only
            self._consider_second(second, was_broken)
        except BaseExceptionGroup as group:
            failed, passing = group.split(Exception)
            if failed is not None:
                self._consider_second(failed, was_broken)
            assert passing is not None
            raise passing from None
        else:
            self._failed = False
            self._entry.scope.deadline = NEVER

    def _consider_second(self, error: Exception, was_broken: bool) -> None:
        """Emit `HandlerFailed` for an exception of the function, unless the peer has gone meanwhile or the
        handler was cut inside a send, or has left a task behind that still sends.
        """
        is_excused = was_broken and isinstance(error, (trio.BrokenResourceError, trio.BusyResourceError))
        if blame(error, self._served) is Cause.FAILED and not is_excused:
            self.tell(HandlerFailed, error=error)


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_cancellation(one) for one in error.exceptions)
    return isinstance(error, trio.Cancelled)
