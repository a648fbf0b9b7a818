"""In which order the tasks run that could all run now.

Four kinds of order, since different faults show in different ones:

    by age     the oldest first; what a kind world does
    at random  each batch shuffled: finds what takes one unlucky moment
    priorities each task keeps a random priority, and a few times one of them is put last: what takes a task
               that is late for a long while (probabilistic concurrency testing, Burckhardt and others, 2010)
    youngest   the newest first

From some batch on the order is by age again, so that a schedule can be made simpler by making it strange for
a shorter time.
"""

from __future__ import annotations

import random
from typing import Final, final

from trio.lowlevel import Task

from .choices import Choices

#: Batches of more than one task in which the order may be strange.
_MOST_BATCHES: Final = 2**16 - 1
#: In how many of the batches with priorities one task is put last: one in so many.
_CHANGE: Final = 40

#: Twice at random: of all kinds it is the one that finds most.
_KINDS: Final = ("age", "random", "random", "priorities", "youngest")


@final
class Schedule:
    """The order of one run, an `Order`."""

    def __init__(self, choices: Choices) -> None:
        self.kind: str = choices.pick(_KINDS)
        self._random = random.Random(choices.integer(2**16 - 1))
        #: How many batches are left in which the order may be strange.
        self._left = 0 if self.kind == "age" else choices.integer(_MOST_BATCHES)
        self._priorities: dict[Task, float] = {}

    def __str__(self) -> str:
        return self.kind

    def arrange(self, batch: list[Task]) -> None:
        """Put the batch, which is by age, in order."""
        if self._left <= 0:
            return
        self._left -= 1
        if self.kind == "random":
            self._random.shuffle(batch)
        elif self.kind == "youngest":
            batch.reverse()
        else:
            self._by_priority(batch)

    def _by_priority(self, batch: list[Task]) -> None:
        priorities, generator = self._priorities, self._random
        for task in batch:
            if task not in priorities:
                priorities[task] = generator.random()
        batch.sort(key=priorities.__getitem__)
        if generator.randrange(_CHANGE) == 0:
            last = batch.pop(0)
            priorities[last] += 1.0  # behind all of them
            batch.append(last)
