"""What a world decides by: whole numbers, each from 0 up to a bound.

The rules:

1. **0 is kind.** Wherever something may go wrong, 0 means that it does not; wherever there is an order, 0 is
   the order in which things began. So a schedule is made simpler by making its numbers smaller, and what
   lies beyond the end of a recorded one is 0.
2. **Few numbers, each of which means something.** A connection's whole fate is about ten; what is drawn for
   each of its pieces comes from a generator whose seed is one of these.
3. **Everything that was drawn is on the tape**, so that a run can be had again from its tape alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar, final

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

T = TypeVar("T")

#: Shares are drawn in steps of a thousandth.
_STEPS: Final = 1000
#: Seeds of generators for the small things.
_MOST_SEED: Final = 2**16 - 1


@final
class Choices:
    """Draws numbers from `source`, a function of the bound, and keeps them on the `tape`."""

    def __init__(self, source: Callable[[int], int]) -> None:
        self._source = source
        self.tape: list[int] = []

    def __repr__(self) -> str:
        return f"<Choices, {len(self.tape)} drawn>"

    def integer(self, most: int) -> int:
        """Return a number from 0 to `most`."""
        if most <= 0:
            return 0  # nothing is drawn, and nothing is on the tape
        number = self._source(most)
        self.tape.append(number)
        return number

    def happens(self, share: float) -> bool:
        """Return True in `share` of all cases (0 to 1). Nothing is drawn for 0."""
        return share > 0 and self.integer(_STEPS - 1) >= _STEPS * (1 - share)

    def seconds(self, most: float) -> float:
        """Return a time from 0 to `most`. Nothing is drawn for 0."""
        return self.integer(_STEPS) * most / _STEPS if most > 0 else 0.0

    def pick(self, options: Sequence[T]) -> T:
        """Return one of `options`, the kindest of which is the first."""
        return options[self.integer(len(options) - 1)]

    def moment(self, most: int) -> int:
        """Return a number from 1 to `most` that is as likely to be of few digits as of many."""
        digits = self.integer(most.bit_length() - 1)
        return min(most, (1 << digits) + self.integer((1 << digits) - 1))

    def generator(self) -> random.Random | None:
        """Return a generator for small things, or None (for 0), which stands for none of them happening."""
        seed = self.integer(_MOST_SEED)
        return random.Random(seed) if seed else None


def seeded(seed: int) -> Choices:
    """Return the choices of this seed: the same for the same seed, in every process."""
    generator = random.Random(seed)
    return Choices(lambda most: generator.randrange(most + 1))


def recorded(tape: Sequence[int]) -> Choices:
    """Return the choices that a tape has; 0 after its end, and the bound for what is beyond it."""
    numbers = iter(tape)
    return Choices(lambda most: min(next(numbers, 0), most))


def drawn(draw: Callable[[SearchStrategy[int]], int]) -> Choices:
    """Return choices that Hypothesis makes: `draw` is that of ``st.data()`` or of ``st.composite``."""
    from hypothesis import strategies

    return Choices(lambda most: draw(strategies.integers(0, most)))
