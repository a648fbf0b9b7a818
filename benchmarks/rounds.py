"""Interleaved rounds: one sample of each server, then one of each again.

So changes of the machine from minute to minute affect all servers alike, and a ratio is made of two samples
that were taken together (`taking.py`). Every sample has a server process of its own. Every second round goes
backwards through works and servers, so that a steady drift favours nobody.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib import metadata
from time import monotonic
from typing import Any

from .peers import Peer
from .process import certificate, compile_all
from .taking import Effort, Sample, take
from .works import Work

Plan = Sequence[tuple[Work, Sequence[Peer]]]
#: How many times as many rounds what was unclear gets, all of which then count.
TIMES = 3
QUICK = Effort(rounds=3, seconds=0.2, warmup=0.05, budget=150.0)


@dataclass
class Result:
    """`samples[work][server]` has one entry a round: a dict of figures, or {"error": text}."""

    effort: Effort
    machine: dict[str, Any]
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    cut_short: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Result:
        fields = json.loads(text)
        return cls(**{**fields, "effort": Effort(**fields["effort"])})


def machine() -> dict[str, Any]:
    """What one must know of the machine to compare two results; nothing that identifies it."""
    packages = ("triosock", "trio", "anyio", "uvloop", "gevent", "twisted", "easynetwork")
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "kernel": platform.release().partition("-")[0],
        "processors": len(os.sched_getaffinity(0)),
        "versions": versions,
    }


def measure(
    plan: Plan,
    effort: Effort,
    tell: Callable[[str], None],
    unclear: Callable[[Result], Plan] | None = None,
) -> Result:
    """Measure each work of `plan` with the servers given for it. `tell` gets a line for people after each
    sample. What is `unclear` then, if somebody asks, is measured in TIMES as many rounds.
    """
    result = Result(effort, machine())
    until = monotonic() + effort.budget
    wanted = {peer.name: peer for _, peers in plan for peer in peers}
    absent = {name for name, peer in wanted.items() if not peer.installed}
    result.skipped = sorted(f"{name}: {wanted[name].needs} is not installed" for name in absent)
    compile_all()
    _measure_rounds(result, plan, range(1, effort.rounds + 1), until, tell)
    more = unclear(result) if unclear is not None and not result.cut_short else []
    _measure_rounds(result, more, range(effort.rounds + 1, TIMES * effort.rounds + 1), until, tell)
    return result


def _measure_rounds(
    result: Result, plan: Plan, numbers: range, until: float, tell: Callable[[str], None]
) -> None:
    turns = [(work, [peer for peer in peers if peer.installed]) for work, peers in plan]
    for work, peers in turns:
        for peer in peers:
            result.samples.setdefault(work.name, {}).setdefault(peer.name, [])
    with ExitStack() as stack:
        tls = any(work.kind == "tls-echo" for work, _ in turns)
        pem = stack.enter_context(certificate()) if tls else ""
        for number in numbers:
            way = 1 if number % 2 else -1
            for work, peers in turns[::way]:
                if monotonic() > until:
                    result.cut_short = True
                    return
                for name, sample in take(work, peers[::way], result.effort, pem).items():
                    result.samples[work.name][name].append(sample)
                    tell(f"round {number}  {work.name:15} {name:18} {summary(sample)}")


def summary(sample: Sample) -> str:
    if "error" in sample:
        return f"FAILED: {sample['error'].splitlines()[-1][:160]}"
    shown = ("rate", "cpu_us", "p99_us", "idle_kib", "drain_ms", "shutdown_ms", "lost")
    return "  ".join(f"{name} {sample[name]:,.1f}" for name in shown if sample.get(name))


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
