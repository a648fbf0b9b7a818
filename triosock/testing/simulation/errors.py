"""The exceptions of a simulation."""

from __future__ import annotations

from typing import final


@final
class SimulationFailed(AssertionError):
    """A seed failed. The text has the seed, the command to run it again, and the shortest schedule that
    still fails. The exception of the scenario is the cause.

    `seed` is the seed (None: the choices were given), `tape` the numbers of the shortest schedule.
    """

    def __init__(self, text: str, seed: int | None, tape: tuple[int, ...]) -> None:
        super().__init__(text)
        self.seed = seed
        self.tape = tape


@final
class NotDeterministic(AssertionError):
    """The same seed gave two different runs. The text has the first event that differs."""


@final
class NotSimulated(RuntimeError):
    """The scenario used a real thread, socket, process or blocking sleep."""
