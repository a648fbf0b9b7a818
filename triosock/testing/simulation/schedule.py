"""The order in which runnable tasks run.

There are four kinds of order, since they find different faults:

    by age     the oldest first; the order without a fault
    at random  each batch is shuffled: finds faults that need one unlucky order
    priorities each task keeps a random priority, and a few times one is put last: finds faults that need a
               task that is delayed for long (probabilistic concurrency testing, Burckhardt and others, 2010)
    youngest   the newest first

From some batch on the order is by age again, so that a schedule can be shrunk by an earlier end of the
unusual order.
"""

from __future__ import annotations

import random
from typing import Final, final

from trio.lowlevel import Task

from .choices import Choices

#: The maximum of batches of more than one task with an unusual order.
_MOST_BATCHES: Final = 2**16 - 1
#: One in so many batches with priorities puts one task last.
_CHANGE: Final = 40

#: "random" is there twice, since it finds most faults.
_KINDS: Final = ("age", "random", "random", "priorities", "youngest")


@final
class Schedule:
    """The order of one run, an `Order`."""

    def __init__(self, choices: Choices) -> None:
        self.kind: str = choices.pick(_KINDS)
        self._random = random.Random(choices.integer(2**16 - 1))
        #: The number of batches left with an unusual order.
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
