"""Medians, and ratios with their spread.

Rule: a ratio is made within one round, of two samples that were taken close to each other, and only then is
the median taken. The quotient of two medians would mix minutes that the machine spent differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from .rounds import Result, Sample
from .works import BY_NAME, MORE_IS_BETTER


@dataclass(frozen=True)
class Ratio:
    """How many times better `of` is than `against`, in each round in which both have a figure."""

    work: str
    measure: str
    of: str
    against: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        return min(self.values), max(self.values)


def figures(samples: Sequence[Sample], measure: str) -> list[float]:
    return [sample[measure] for sample in samples if measure in sample]


def middle(samples: Sequence[Sample], measure: str) -> float | None:
    """The median of what was measured; None if nothing was."""
    found = figures(samples, measure)
    return median(found) if found else None


def advantage(measure: str, ours: float, theirs: float) -> float:
    """How many times better `ours` is; both above zero."""
    return ours / theirs if measure in MORE_IS_BETTER else theirs / ours


def by_round(result: Result, work: str, measure: str, of: str, against: str) -> dict[int, float]:
    """The ratio in each round in which both were measured; a failed sample has its place, but no figure."""
    samples = result.samples.get(work, {})
    pairs = zip(samples.get(of, ()), samples.get(against, ()), strict=False)
    return {
        number: advantage(measure, ours[measure], theirs[measure])
        for number, (ours, theirs) in enumerate(pairs)
        if ours.get(measure, 0) > 0 and theirs.get(measure, 0) > 0
    }


def ratio(result: Result, work: str, measure: str, of: str, against: str) -> Ratio | None:
    """None if there is no round in which both were measured."""
    values = by_round(result, work, measure, of, against)
    return Ratio(work, measure, of, against, tuple(values.values())) if values else None


def growth(result: Result, small: str, large: str, of: str, against: str) -> Ratio | None:
    """How many times less `of` rises in CPU time per operation from the work `small` to the work `large`."""
    first = by_round(result, small, "cpu_us", of, against)
    second = by_round(result, large, "cpu_us", of, against)
    values = tuple(second[number] / first[number] for number in first.keys() & second.keys())
    return Ratio(f"{small} to {large}", "cpu_us", of, against, values) if values else None


def all_ratios(result: Result) -> Iterator[Ratio]:
    """Every ratio that the works say is to be made, in their order."""
    for name, samples in result.samples.items():
        work = BY_NAME[name]
        for of, against in work.pairs(set(samples)):
            for measure in work.measures:
                if (found := ratio(result, name, measure, of, against)) is not None:
                    yield found
