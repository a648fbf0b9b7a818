"""What a simulation raises besides what a scenario raises."""

from __future__ import annotations

from typing import final


@final
class SimulationFailed(AssertionError):
    """A seed failed. The text says which, how to run it again, and the shortest schedule that still fails.
    What the scenario raised is the cause.

    `seed` is the seed (None: the choices were given), `tape` the numbers of the shortest schedule.
    """

    def __init__(self, text: str, seed: int | None, tape: tuple[int, ...]) -> None:
        super().__init__(text)
        self.seed = seed
        self.tape = tape


@final
class NotDeterministic(AssertionError):
    """The same seed gave two different runs. The text has the first event in which they differ."""


@final
class NotSimulated(RuntimeError):
    """The scenario did something for real: a thread, a socket, a process, a sleep that blocks."""
