"""Interleaved rounds: one sample of each server, then one of each again.

What changes on the machine from minute to minute so hits all alike, and a ratio is made of two samples that
were taken close to each other. Every sample has a server process of its own. Every second round goes
backwards through the servers, so that a steady drift favours nobody. A sample that fails is kept as a
failure, and costs only itself.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from statistics import median
from time import monotonic
from typing import Any

from .calm import Calm, Sample, take_calmly
from .load.job import STALLED_AFTER
from .peers import Peer
from .process import RunFailed, certificate, compile_all, processors, run_load, started, wait_ready
from .works import Work

Plan = Sequence[tuple[Work, Sequence[Peer]]]
#: What a load may take beyond its warm-up and measuring time: setting up 10,000 connections, and one stall.
SETUP_WITHIN = 60.0
#: How many times as many rounds what was unclear gets, all of which then count.
TIMES = 3


@dataclass(frozen=True)
class Effort:
    """How much is measured. `budget` is in seconds for the whole run: no sample begins after that. `patience`
    is how long one sample may wait for a machine as it mostly is (`calm.py`), in seconds; with 0 none is.
    """

    rounds: int = 5
    seconds: float = 0.7
    warmup: float = 0.2
    budget: float = 3600.0
    patience: float = 8.0
    limit: float = math.inf


QUICK = Effort(rounds=3, seconds=0.2, warmup=0.05, budget=150.0, patience=0.0)


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
    calm = Calm(processors()[0]) if effort.patience else None
    _measure_rounds(result, plan, range(1, effort.rounds + 1), until, calm, tell)
    more = unclear(result) if unclear is not None and not result.cut_short else []
    _measure_rounds(result, more, range(effort.rounds + 1, TIMES * effort.rounds + 1), until, calm, tell)
    return result


def _measure_rounds(
    result: Result,
    plan: Plan,
    numbers: range,
    until: float,
    calm: Calm | None,
    tell: Callable[[str], None],
) -> None:
    turns = [(work, peer) for work, peers in plan for peer in peers if peer.installed]
    for work, peer in turns:
        result.samples.setdefault(work.name, {}).setdefault(peer.name, [])
    with ExitStack() as stack:
        tls = any(work.kind == "tls-echo" for work, _ in turns)
        pem = stack.enter_context(certificate()) if tls else ""
        for number in numbers:
            for work, peer in turns if number % 2 else reversed(turns):
                if monotonic() > until:
                    result.cut_short = True
                    return
                once = partial(take, work, peer, result.effort, pem)
                sample = take_calmly(once, calm, result.effort.patience) if calm else once()
                result.samples[work.name][peer.name].append(sample)
                tell(f"round {number}  {work.name:15} {peer.name:18} {summary(sample)}")


def take(work: Work, peer: Peer, effort: Effort, pem: str = "") -> Sample:
    """One sample: start the server, drive it, end it."""
    try:
        servers, _ = processors()
        with started(
            f"benchmarks.servers.{peer.module}", [work.kind, pem, *peer.arguments], servers
        ) as server:
            if work.load == "none":
                return flattened(json.loads(server.line(SETUP_WITHIN)))
            job = {
                "port": wait_ready(server),
                "pid": server.pid,
                "seconds": effort.seconds,
                "warmup": effort.warmup,
                "params": work.params,
            }
            if effort.limit < math.inf:
                job["limit"] = effort.limit
            sample: Sample = run_load(work.load, job, effort.seconds + effort.warmup + SETUP_WITHIN)
            if work.load == "drain":
                sample |= flattened(json.loads(server.line(STALLED_AFTER)))
            return sample
    except RunFailed as error:
        return {"error": str(error)}


def flattened(figures: Sample) -> Sample:
    """What a server measured itself: of a list, the median."""
    return {name: median(value) if isinstance(value, list) else value for name, value in figures.items()}


def summary(sample: Sample) -> str:
    if "error" in sample:
        return f"FAILED: {sample['error'].splitlines()[-1][:160]}"
    shown = ("rate", "cpu_us", "p99_us", "idle_kib", "drain_ms", "shutdown_ms", "lost", "disturbed")
    return "  ".join(f"{name} {sample[name]:,.1f}" for name in shown if sample.get(name))


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
