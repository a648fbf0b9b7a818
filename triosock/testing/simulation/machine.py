"""A state machine of Hypothesis for a server: rules in any order, in a simulated world.

    class Shouting(ServerMachine):
        connections = Bundle("connections")

        async def begin(self, world):
            self.server = await world.serve(shout)

        @rule(target=connections)
        def connect(self):
            return self.run(self.world.connect, self.server)

        @rule(conn=connections, word=strategies.sampled_from([b"a", b"bc"]))
        def ask(self, conn, word):
            self.run(conn.send_all, word + b"\\n")
            assert self.run(conn.receive_until, b"\\n") == word.upper() + b"\\n"

    TestShouting = Shouting.TestCase

Rules are plain functions, so the world runs in a separate thread.

The invariant: **only one of the two threads runs at a time.** Between two calls of `run()` the world is
stopped, and so is its clock; during a call the rules wait. So the additional thread keeps the run
deterministic.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, TypeVarTuple, Unpack

import attrs
from hypothesis import strategies
from hypothesis.stateful import Rule, RuleBasedStateMachine, initialize

from .choices import recorded, seeded
from .faults import Faults
from .run import MAX_SECONDS, Outcome, Plan
from .run import run as run_world
from .world import World

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@attrs.frozen(kw_only=True)
class _Done:
    """The result of a job."""

    error: Exception | None = None


def _makes_world(rule: Rule) -> bool:
    name: str = rule.function.__name__
    return name == ServerMachine.make_world.__name__


_MOST_SEED: Final = 2**32 - 1


class ServerMachine(RuleBasedStateMachine):
    """Derive from it, override `begin`, and add rules that call `run`. `faults` are those of the world,
    whose seed is drawn; seed 0 is a world without faults.
    """

    faults: Faults = Faults()
    max_seconds: float = MAX_SECONDS

    def __init__(self) -> None:
        super().__init__()
        self._jobs: queue.SimpleQueue[Callable[[], Awaitable[object]] | None] = queue.SimpleQueue()
        #: The result of a job; None when the world has ended.
        self._done: queue.SimpleQueue[_Done | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended: Outcome | None = None
        #: What ended the world and says nothing about it, such as a skip; raised in the test's thread.
        self._interruption: BaseException | None = None
        self._world: World | None = None

        # Hypothesis runs the rules that initialize in any order, and those of a subclass need the world. This
        # list is no public API: without it, such a rule may get the error of `world`.
        rules: list[Rule] = getattr(self, "_initialize_rules_to_run", [])
        self._initialize_rules_to_run = [rule for rule in rules if _makes_world(rule)]
        self._later = [rule for rule in rules if not _makes_world(rule)]

    @property
    def world(self) -> World:
        """The world, after `begin` was called."""
        if self._world is None:
            raise RuntimeError("there is no world yet: make_world() is the first rule")
        return self._world

    async def begin(self, world: World) -> None:
        """Start the servers. Override it."""
        raise NotImplementedError(f"{type(self).__name__} must have an async method begin(world)")

    @initialize(seed=strategies.integers(0, _MOST_SEED))
    def make_world(self, seed: int) -> None:
        """Make the world, before any rule."""
        self._thread = threading.Thread(target=self._live, args=[seed], name="triosock simulation")
        self._thread.start()
        self._take()
        self._initialize_rules_to_run += self._later

    def run(self, async_fn: Callable[[Unpack[Ts]], Awaitable[T]], *args: Unpack[Ts]) -> T:
        """Run ``async_fn(*args)`` in the world and return its result. The world's clock goes on meanwhile.

        Raises: the exception of `async_fn`, or of the world if it has failed, also one by which a test is
        skipped or expected to fail; RuntimeError if the world has ended.
        """
        if self._thread is None or self._ended is not None or self._interruption is not None:
            raise self._end()
        results: list[T] = []

        async def job() -> None:
            results.append(await async_fn(*args))

        self._jobs.put(job)
        self._take()
        return results[0]

    def teardown(self) -> None:
        """End the world. Raises: its failure."""
        if self._thread is None:
            return
        self._jobs.put(None)
        self._thread.join()
        if (error := self._failure()) is not None:
            raise error

    def _take(self) -> None:
        done = self._done.get()
        if done is not None:
            if done.error is not None:
                raise done.error
            return
        assert self._thread is not None
        self._thread.join()
        raise self._end()

    def _end(self) -> BaseException:
        """Return the failure with which the world has ended; an error that says so, if there was none."""
        return self._failure() or RuntimeError("the world has ended, or was not made: no rules can run in it")

    def _failure(self) -> BaseException | None:
        return self._interruption or (self._ended.error if self._ended is not None else None)

    # In the world's thread

    def _live(self, seed: int) -> None:
        plan = Plan(scenario=self._serve_jobs, faults=self.faults, max_seconds=self.max_seconds)
        try:
            self._ended = run_world(plan, seeded(seed) if seed else recorded(()), seed=seed)
        except BaseException as error:
            self._interruption = error  # a skip or an interrupt: the test's thread raises it
        finally:
            self._done.put(None)

    async def _serve_jobs(self, world: World) -> None:
        self._world = world
        await self.begin(world)
        self._done.put(_Done())
        while (job := self._jobs.get()) is not None:
            try:
                await job()
            except Exception as error:  # raised in the rule; a cancellation belongs to the world
                self._done.put(_Done(error=error))
            else:
                self._done.put(_Done())
