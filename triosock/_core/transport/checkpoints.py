"""trio's `wait_task_rescheduled` and `cancel_shielded_checkpoint`, at the cost of one generator each.

trio's own `wait_task_rescheduled` and `cancel_shielded_checkpoint` are two coroutines deep, and make and
unpack one or two objects for each call. For a server whose every operation is a checkpoint that is about a
tenth of its processor time. They yield a message to trio's run loop; this file gets their messages once, at
import, and yields the same ones from then on.

The invariant: **these functions behave exactly as trio's.** It requires that the messages have no state,
which is checked here: two calls must give equal messages. If they do not, in a later trio, trio's own
functions are used.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Final, Protocol

import trio
from trio.lowlevel import Abort, Task, cancel_shielded_checkpoint, reschedule, wait_task_rescheduled


class Answer(Protocol):
    """What trio's run loop sends back for a message: an outcome."""

    def unwrap(self) -> object:
        """Return what it is, or raise it."""


class _Woken:
    """The outcome of a sleep that was ended by `wake`: nothing, and as often as one likes. (One of outcome's
    own can be unwrapped only once, so each would have to be made anew.)
    """

    __slots__ = ()

    def unwrap(self) -> None:
        """Return nothing."""


_WOKEN: Final[Any] = _Woken()  # in the place of an Outcome, which is a final class


def _abort(_: object) -> Abort:
    # Nothing to undo: trio clears the sleep data when it reschedules the task for its cancellation, and by
    # that `wake` knows that it comes too late.
    return Abort.SUCCEEDED


def _message(trap: Callable[[], Coroutine[object, None, object]]) -> object:
    """Return what the trap yields to trio's run loop."""
    asked = trap()
    try:
        return asked.send(None)
    finally:
        asked.close()


async def _sleep_by_trio() -> None:
    await wait_task_rescheduled(_abort)


_SLEEP: Final = _message(_sleep_by_trio)
_TURN: Final = _message(cancel_shielded_checkpoint)


@types.coroutine
def _sleep_cheaply() -> Generator[object, Answer, None]:
    (yield _SLEEP).unwrap()


@types.coroutine
def _give_turn_cheaply() -> Generator[object, object, None]:
    yield _TURN  # its outcome is always nothing


_has_no_state = _message(_sleep_by_trio) == _SLEEP and _message(cancel_shielded_checkpoint) == _TURN

#: Sleep until `wake` or a cancellation. Before it, a task must set its `custom_sleep_data` to what `wake` is
#: to be given.
sleep: Callable[[], Awaitable[None]] = _sleep_cheaply if _has_no_state else _sleep_by_trio

#: What `sleep` and `give_turn` yield, for code without a coroutine to yield it: `unwrap()` of the answer does
#: the rest. None if trio works otherwise.
SLEEP_MESSAGE: Final[object] = _SLEEP if _has_no_state else None
TURN_MESSAGE: Final[object] = _TURN if _has_no_state else None

#: Let others run: trio's `cancel_shielded_checkpoint`, half of a checkpoint.
give_turn: Callable[[], Awaitable[None]] = _give_turn_cheaply if _has_no_state else cancel_shielded_checkpoint


async def checkpoint() -> None:
    """The whole of a checkpoint, as `trio.lowlevel.checkpoint` is."""
    await give_turn()
    await trio.lowlevel.checkpoint_if_cancelled()


def wake(task: Task, asleep_for: object) -> None:
    """End the sleep of a task, if it is in one for this reason: not if it was woken or cancelled before."""
    # trio sets this to None whenever it reschedules a task, for whatever reason.
    if task.custom_sleep_data is asleep_for:
        reschedule(task, _WOKEN)
