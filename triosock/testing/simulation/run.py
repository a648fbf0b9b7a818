"""One run of a scenario, from its choices to its outcome.

The invariant: **a run leaves no state for the next**: the order of tasks, the audit hook, the generator of
the `random` module and the garbage collector are restored when it ends.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias, final

import attrs
import trio

from ..._core.model import checks
from .choices import Choices
from .client import NETWORK_ERRORS
from .faults import Faults
from .guard import Guard
from .instrument import StepInstrument
from .journal import Journal
from .schedule import Schedule
from .trio_internals import jumping_clock, ordered_by
from .world import World

Scenario: TypeAlias = Callable[[World], Awaitable[object]]

#: Seconds of the world's clock: more than the longest default timeout of a server, half an hour.
MAX_SECONDS: Final = 3600.0
#: Steps of all tasks together.
MAX_STEPS: Final = 200_000


@final
@attrs.frozen(kw_only=True)
class Plan:
    """The parameters of all runs of a simulation."""

    scenario: Scenario
    faults: Faults
    max_seconds: float = attrs.field(default=MAX_SECONDS, validator=checks.seconds)
    max_steps: int = attrs.field(default=MAX_STEPS, validator=checks.positive)
    #: The command that runs one seed again, without the seed; None for a call of `simulate`.
    again: str | None = None
    #: The folder for pictures of runs that fail.
    pictures: Path | None = None


@final
@attrs.define(kw_only=True)
class Outcome:
    """The outcome of a run: its exception, if it failed, and its journal."""

    error: BaseException | None
    journal: Journal
    tape: tuple[int, ...]
    seconds: float
    fault_counts: Counter[str]
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
    """Run a scenario. Args: `located`, whether the journal has the place where each step ended; `quiet`,
    whether triosock's log is off; `on_mark` is called with a description of each fault.

    Raises: KeyboardInterrupt, and in a test the exceptions by which it is skipped or expected to fail, also
    from a group; all others are in the outcome.
    """
    journal = Journal(located=located)
    clock = jumping_clock()
    journal.clock = clock.current_time
    instrument = StepInstrument(journal, plan.max_steps)
    schedule = Schedule(choices)
    guard = Guard()
    world = World(choices, plan.faults, journal, instrument, clock.jump, seed)
    world.on_mark = on_mark
    with ordered_by(schedule), _restored(world.random.getrandbits(32)), _logging(quiet):
        error = _error_of(trio.run, _main, world, plan, guard, clock=clock, instruments=[instrument])
    if isinstance(error, NETWORK_ERRORS) and world.failure is not None:
        error = world.failure  # it is the reason for the client's error
    return Outcome(
        error=guard.refused or error,
        journal=journal,
        tape=tuple(choices.tape),
        seconds=clock.current_time(),
        fault_counts=world.fault_counts,
        marks=world.marks,
        order=str(schedule),
    )


async def _main(world: World, plan: Plan, guard: Guard) -> None:
    with guard.refusing():
        await world.run(plan.scenario, plan.max_seconds)


def _error_of(function: Callable[..., object], *args: object, **options: object) -> BaseException | None:
    """Return the exception that a call raises, if any. Raises: one that ends the whole simulation."""
    try:
        function(*args, **options)
    except (Exception, BaseExceptionGroup) as raised:
        ending = _first(raised, _ending())
        if ending is not None:
            raise ending from None
        return _plain(raised)
    return None


def _ending() -> tuple[type[BaseException], ...]:
    """Return the exceptions that end the simulation, because they say nothing about the seed: Ctrl-C, and
    those by which a test is skipped or expected to fail. (A failure by ``pytest.fail`` is one of the seed.)
    """
    kinds: list[type[BaseException]] = [KeyboardInterrupt]
    if (unittest := sys.modules.get("unittest.case")) is not None:
        kinds.append(unittest.SkipTest)
    if (pytest := sys.modules.get("pytest")) is not None:
        kinds += [pytest.skip.Exception, pytest.xfail.Exception]
    return tuple(kinds)


def _first(error: BaseException, kinds: tuple[type[BaseException], ...]) -> BaseException | None:
    """Return the first exception of one of these kinds, in a group or alone."""
    if isinstance(error, kinds):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    group: BaseExceptionGroup[BaseException] = error
    return next((found for one in group.exceptions if (found := _first(one, kinds)) is not None), None)


def _plain(error: BaseException) -> BaseException:
    """Return an exception without the groups of nurseries around it, if it is a single one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        group: BaseExceptionGroup[BaseException] = error
        error = group.exceptions[0]
    return error


@contextlib.contextmanager
def _restored(seed: int) -> Iterator[None]:
    state, collecting = random.getstate(), gc.isenabled()
    # Garbage collection depends on everything that the process did before; and programs that use the
    # `random` module must draw the same numbers each time.
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
