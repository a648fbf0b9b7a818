"""The ratios that must not fall: read from thresholds.toml, and held against a result.

Rule: a ratio that was not measured in enough rounds fails.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import peers, works
from .peers import Peer
from .ratios import Ratio, growth, ratio
from .rounds import Result
from .works import Work

#: A median of five rounds may be this far off the true one, on a machine with nothing else to do.
CLOSE = 0.04
THRESHOLDS = Path(__file__).with_name("thresholds.toml")


@dataclass(frozen=True)
class Threshold:
    """One ratio and its bounds. `baseline` is the smaller work if it is growth that is judged, else None."""

    work: str
    measure: str
    of: str
    against: str
    at_least: float
    aim: float | None = None
    baseline: str | None = None

    @property
    def name(self) -> str:
        work = f"{self.baseline} to {self.work}" if self.baseline else self.work
        return f"{work}, {self.measure}: {self.of} against {self.against}"

    def find(self, result: Result) -> Ratio | None:
        if self.baseline is not None:
            return growth(result, self.baseline, self.work, self.of, self.against)
        return ratio(result, self.work, self.measure, self.of, self.against)


@dataclass(frozen=True)
class Thresholds:
    rounds: int
    all: tuple[Threshold, ...]

    def plan(self) -> list[tuple[Work, Sequence[Peer]]]:
        """What must be measured to judge them, in the order of works and servers."""
        return _plan(self.all)

    def unclear(self, result: Result) -> list[tuple[Work, Sequence[Peer]]]:
        """What is so close to a bound, on either side of it, that chance may have decided; or has rounds on
        both sides of it.
        """
        found = [(one, one.find(result)) for one in self.all]
        return _plan(one for one, ratio in found if ratio is not None and _is_unclear(ratio, one.at_least))


def _is_unclear(ratio: Ratio, bound: float) -> bool:
    low, high = ratio.spread
    return low < bound <= high or abs(ratio.median / bound - 1) < CLOSE


def _plan(thresholds: Iterable[Threshold]) -> list[tuple[Work, Sequence[Peer]]]:
    wanted: dict[str, set[str]] = {}
    for threshold in thresholds:
        for work in filter(None, (threshold.baseline, threshold.work)):
            wanted.setdefault(work, set()).update((threshold.of, threshold.against))
    return [
        (work, [peer for peer in work.peers if peer.name in wanted[work.name]])
        for work in works.WORKS
        if work.name in wanted
    ]


def load(path: Path = THRESHOLDS) -> Thresholds:
    """Read the file. ValueError if a name in it is unknown."""
    with path.open("rb") as file:
        table = tomllib.load(file)
    return Thresholds(table["rounds"], tuple(one for entry in table["ratio"] for one in _read(entry)))


def _read(entry: dict[str, Any]) -> Iterable[Threshold]:
    of = entry.get("of", "triosock")
    for work in (entry["work"], *filter(None, [entry.get("baseline")])):
        if work not in works.BY_NAME:
            raise ValueError(f"there is no work {work!r}; there are {', '.join(works.BY_NAME)}")
        able = {peer.name for peer in works.BY_NAME[work].peers}
        for name in (of, entry["against"]):
            if name not in able:
                known = "cannot do that work" if name in peers.BY_NAME else "does not exist"
                raise ValueError(f"{work}: the server {name!r} {known}; there are {', '.join(sorted(able))}")
    at_least = entry["at_least"] if "at_least" in entry else 1 / entry["at_most"]
    aim = entry.get("aim", 1 / entry["aim_at_most"] if "aim_at_most" in entry else None)
    for measure in entry.get("measures", works.BY_NAME[entry["work"]].measures):
        yield Threshold(entry["work"], measure, of, entry["against"], at_least, aim, entry.get("baseline"))


@dataclass(frozen=True)
class Verdict:
    threshold: Threshold
    ratio: Ratio | None
    rounds: int

    @property
    def passed(self) -> bool:
        return (
            self.ratio is not None
            and len(self.ratio.values) >= self.rounds
            and self.ratio.median >= self.threshold.at_least
        )

    @property
    def missed_aim(self) -> bool:
        aim = self.threshold.aim
        return self.passed and aim is not None and self.ratio is not None and self.ratio.median < aim

    def __str__(self) -> str:
        threshold = self.threshold
        if self.ratio is None:
            return f"{threshold.name}: not measured"
        low, high = self.ratio.spread
        text = f"{threshold.name}: {self.ratio.median:.2f} ({low:.2f} to {high:.2f})"
        text += f", at least {threshold.at_least:.2f}"
        if threshold.aim is not None:
            text += f", aim {threshold.aim:.2f}"
        if len(self.ratio.values) < self.rounds:
            text += f"; only {len(self.ratio.values)} of {self.rounds} rounds"
        return text


def judge(result: Result, thresholds: Thresholds) -> list[Verdict]:
    return [Verdict(one, one.find(result), thresholds.rounds) for one in thresholds.all]
