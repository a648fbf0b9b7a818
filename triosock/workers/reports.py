"""Merges the drain reports of workers into one.

Rule: counts are summed, the slowest requests are those of all workers, and if a worker that served has ended
without a report, the merged report is not `drained`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from .._core.model.addresses import Address, MemoryAddress, UnixAddress, parse_address
from .._core.model.events import Cause
from .._core.registry.drain_report import SLOWEST, DrainReport, Straggler
from .._worker import COUNTS, parse_reports

#: The text of a Unix socket without a name, as most clients have it. It is no address that one could write.
_NAMELESS: Final = str(UnixAddress(""))


def read_reports(text: str) -> list[DrainReport]:
    """Return the reports in the message of a worker. Raises: ValueError, KeyError, TypeError or
    AttributeError if it has another form.
    """
    return [_report(fields) for fields in parse_reports(text)]


def _report(fields: dict[str, Any]) -> DrainReport:
    counts = {name: int(fields[name]) for name in COUNTS}
    return DrainReport(
        **counts,
        duration=float(fields["duration"]),
        drained=bool(fields["drained"]),
        causes={Cause(cause): int(count) for cause, count in fields["causes"].items()},
        slowest=tuple(_straggler(one) for one in fields["slowest"]),
    )


def _straggler(fields: dict[str, Any]) -> Straggler:
    return Straggler(
        peer=_address(fields["peer"]),
        age=float(fields["age"]),
        phase=fields["phase"],
        stack=tuple(fields["stack"]),
    )


def _address(text: str) -> Address:
    if text == _NAMELESS:
        return UnixAddress("")
    try:
        return parse_address(text)
    except ValueError:
        # A listener of the program's own may have addresses of another form.
        return MemoryAddress(text.removeprefix("memory://"))


def merge_reports(reports: Iterable[DrainReport], *, duration: float, missing: int = 0) -> DrainReport:
    """Return the merged report.

    Args: `duration` of the whole drain, in seconds; `missing`, the number of workers without a report.
    """
    reports = list(reports)
    causes: Counter[Cause] = Counter()
    for one in reports:
        causes.update(one.causes)
    stragglers = (straggler for one in reports for straggler in one.slowest)
    return DrainReport(
        **{name: sum(getattr(one, name) for one in reports) for name in COUNTS},
        duration=duration,
        drained=not missing and all(one.drained for one in reports),
        slowest=tuple(heapq.nlargest(SLOWEST, stragglers, key=lambda one: one.age)),
        causes=dict(causes),
    )
