"""One run of a scenario, from its choices to its outcome.

The invariant: **nothing of one run is seen by the next**: the order of tasks, the audit hook, the generator
of the `random` module and the garbage collector are as before when it ends.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias, final

import attrs
import trio

from .choices import Choices
from .client import DISAPPOINTMENTS
from .conductor import Conductor
from .faults import Faults
from .guard import Guard
from .journal import Journal
from .schedule import Schedule
from .trio_internals import jumping_clock, ordered_by
from .world import World

Scenario: TypeAlias = Callable[[World], Awaitable[object]]

#: Of the world's clock: more than the longest default timeout of a server, which is half an hour.
MAX_SECONDS: Final = 3600.0
#: Of all tasks together.
MAX_STEPS: Final = 200_000


@final
@attrs.frozen(kw_only=True)
class Plan:
    """What all runs of a simulation have in common."""

    scenario: Scenario
    faults: Faults
    max_seconds: float = MAX_SECONDS
    max_steps: int = MAX_STEPS
    #: What runs one seed again, up to its number; None for a call of `simulate`.
    again: str | None = None
    #: The folder for pictures of runs that fail.
    pictures: Path | None = None


@final
@attrs.define(kw_only=True)
class Outcome:
    """How a run went: what it raised, if it failed, and everything that happened in it."""

    error: BaseException | None
    journal: Journal
    tape: tuple[int, ...]
    seconds: float
    struck: Counter[str]
    marks: list[tuple[float, str]]
    order: str


def run(
    plan: Plan,
    choices: Choices,
    *,
    seed: int | None = None,
    located: bool = False,
    quiet: bool = True,
    on_mark: Callable[[str], None] | None = None,
) -> Outcome:
    """Run a scenario. Args: `located`, whether the journal says where each step ended; `quiet`, whether
    triosock's log is silent; `on_mark` is told, in words, what befalls the world.

    Raises: what is no `Exception`; everything else is in the outcome.
    """
    journal = Journal(located=located)
    clock = jumping_clock()
    journal.clock = clock.current_time
    conductor = Conductor(journal, plan.max_steps)
    schedule = Schedule(choices)
    guard = Guard()
    world = World(choices, plan.faults, journal, conductor, clock.jump, seed)
    world.on_mark = on_mark
    with ordered_by(schedule), _as_before(world.random.getrandbits(32)), _logging(quiet):
        error = _error_of(trio.run, _main, world, plan, guard, clock=clock, instruments=[conductor])
    if isinstance(error, DISAPPOINTMENTS) and world.failure is not None:
        error = world.failure  # it is why the client was disappointed
    return Outcome(
        error=guard.refused or error,
        journal=journal,
        tape=tuple(choices.tape),
        seconds=clock.current_time(),
        struck=world.struck,
        marks=world.marks,
        order=str(schedule),
    )


async def _main(world: World, plan: Plan, guard: Guard) -> None:
    with guard.on_duty():
        await world.run(plan.scenario, plan.max_seconds)


def _error_of(function: Callable[..., object], *args: object, **options: object) -> BaseException | None:
    """What a call raises, if it raises an `Exception` or a group."""
    try:
        function(*args, **options)
    except Exception as raised:
        return _plain(raised)
    except BaseExceptionGroup as raised:
        return raised
    return None


def _plain(error: BaseException) -> BaseException:
    """What was raised, without the groups of the nurseries around it, if it was one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        group: BaseExceptionGroup[BaseException] = error
        error = group.exceptions[0]
    return error


@contextlib.contextmanager
def _as_before(seed: int) -> Iterator[None]:
    state, collecting = random.getstate(), gc.isenabled()
    # When garbage is collected depends on all that the process did before; and programs that draw from the
    # `random` module shall do the same each time.
    gc.disable()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
        if collecting:
            gc.enable()


@contextlib.contextmanager
def _logging(quiet: bool) -> Iterator[None]:
    logger = logging.getLogger("triosock")
    before = logger.disabled
    logger.disabled = before or quiet
    try:
        yield
    finally:
        logger.disabled = before
