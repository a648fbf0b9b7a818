"""The random numbers of a world: integers, each from 0 up to a bound.

The rules:

1. **0 means no fault.** For a fault, 0 means that it does not happen; for an order, 0 is the order in which
   tasks began. So smaller numbers make a schedule simpler, and numbers beyond the end of a recorded one are
   0.
2. **Few numbers, each with a meaning.** A connection has about ten; what is drawn for each of its pieces
   comes from a generator whose seed is one of these.
3. **Every drawn number is on the tape**, so that a run can be repeated from its tape alone.
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
#: The largest seed of a generator for details.
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
            return 0  # nothing is drawn, so nothing is on the tape
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
        """Return one of `options`; the first is the one with the mildest fault."""
        return options[self.integer(len(options) - 1)]

    def moment(self, most: int) -> int:
        """Return a number from 1 to `most`, whose binary length is uniformly distributed."""
        digits = self.integer(most.bit_length() - 1)
        return min(most, (1 << digits) + self.integer((1 << digits) - 1))

    def generator(self) -> random.Random | None:
        """Return a generator for details, or None (for 0), which means none of these faults."""
        seed = self.integer(_MOST_SEED)
        return random.Random(seed) if seed else None


def seeded(seed: int) -> Choices:
    """Return the choices of this seed: the same for the same seed, in every process."""
    generator = random.Random(seed)
    return Choices(lambda most: generator.randrange(most + 1))


def recorded(tape: Sequence[int]) -> Choices:
    """Return the choices of a tape: 0 after its end, and at most the bound of each draw."""
    numbers = iter(tape)
    return Choices(lambda most: min(next(numbers, 0), most))


def drawn(draw: Callable[[SearchStrategy[int]], int]) -> Choices:
    """Return choices drawn by Hypothesis: `draw` is that of ``st.data()`` or of ``st.composite``."""
    from hypothesis import strategies

    return Choices(lambda most: draw(strategies.integers(0, most)))
