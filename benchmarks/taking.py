"""One sample of each of several servers, taken together: a slice of each in turn, again and again.

A virtual processor may share its core with a stranger's, and is then slower by half, for seconds or for
hours, though nothing on this machine shows it. Two samples that lie seconds apart, on both sides of such a
change, make a ratio that says nothing. Two that consist of slices, which alternate within a second or two,
are slowed down alike.

Rules of this file:

1. All servers of a work run at the same time, each with its load, and **one of them works**; the others have
   nothing to do until it is their turn. Every second pass goes backwards through them.
2. A sample that fails is kept as a failure, and costs only itself: its server and load end at once.
3. What is not a matter of rates (a drain, a shutdown, the memory of idle connections) is taken as a whole, of
   one server after the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from .load.job import STALLED_AFTER, under_way
from .peers import Peer
from .process import Process, RunFailed, load_started, processors, started, wait_ready
from .works import Work

Sample = dict[str, Any]

#: In seconds. Short against the changes of the machine, long against what a slice costs besides.
SLICE: Final = 0.05
#: And so much for each operation that may be under way, so that each has its turn several times.
SLICE_EACH: Final = 0.0001
#: What any step may take at most: setting up 10,000 connections, and one stall.
SETUP_WITHIN: Final = 60.0


@dataclass(frozen=True)
class Effort:
    """How much is measured. `seconds` is the measuring time of one sample; `budget` is in seconds for the
    whole run: nothing begins after that.
    """

    rounds: int = 5
    seconds: float = 0.7
    warmup: float = 0.2
    budget: float = 3600.0

    def slices(self, work: Work) -> int:
        """How many slices a sample of this work has."""
        return max(1, round(self.seconds / max(SLICE, SLICE_EACH * under_way(work.params))))


def take(work: Work, peers: Sequence[Peer], effort: Effort, pem: str = "") -> dict[str, Sample]:
    """One sample of each: start the servers, drive them, end them."""
    if work.in_slices:
        return _take_together(work, peers, effort, pem)
    return {peer.name: _take_whole(work, peer, effort, pem) for peer in peers}


def _take_together(work: Work, peers: Sequence[Peer], effort: Effort, pem: str) -> dict[str, Sample]:
    with ExitStack() as stack:
        driven = {peer.name: stack.enter_context(closing(_Driven(work, peer, effort))) for peer in peers}
        for one in driven.values():
            one.begin(pem)
        for number in range(effort.slices(work)):
            for one in list(driven.values())[:: -1 if number % 2 else 1]:
                one.take_slice()
        return {name: one.finish() for name, one in driven.items()}


class _Driven:
    """One server and its load, which have nothing to do between two slices. After a failure both are gone,
    and what is called then does nothing.
    """

    def __init__(self, work: Work, peer: Peer, effort: Effort) -> None:
        self._work, self._peer, self._effort = work, peer, effort
        self._running = ExitStack()
        self._load: Process | None = None
        self._sample: Sample = {}

    def begin(self, pem: str) -> None:
        """Start both, and warm up."""
        with self._failing_alone():
            _, load = self._running.enter_context(_loaded(self._work, self._peer, self._effort, pem))
            load.expect("ready", SETUP_WITHIN)
            self._load = load

    def take_slice(self) -> None:
        if self._load is not None:
            with self._failing_alone():
                self._load.order()
                self._load.expect("done", SETUP_WITHIN)

    def finish(self) -> Sample:
        """Return the figures of all slices, or what failed."""
        if self._load is not None:
            with self._failing_alone():
                self._load.end_input()
                self._sample = json.loads(self._load.line(SETUP_WITHIN))
        return self._sample

    def close(self) -> None:
        """End server and load."""
        self._load = None
        self._running.close()

    @contextmanager
    def _failing_alone(self) -> Iterator[None]:
        try:
            yield
        except RunFailed as error:
            self._sample = {"error": str(error)}
            self.close()


def _take_whole(work: Work, peer: Peer, effort: Effort, pem: str) -> Sample:
    try:
        if work.load == "none":
            with _server(work, peer, pem) as server:
                return _flattened(json.loads(server.line(SETUP_WITHIN)))
        with _loaded(work, peer, effort, pem) as (server, load):
            sample: Sample = json.loads(load.line(SETUP_WITHIN))
            if work.load == "drain":
                sample |= _flattened(json.loads(server.line(STALLED_AFTER)))
            return sample
    except RunFailed as error:
        return {"error": str(error)}


@contextmanager
def _server(work: Work, peer: Peer, pem: str) -> Iterator[Process]:
    cpus, _ = processors()
    with started(f"benchmarks.servers.{peer.module}", [work.kind, pem, *peer.arguments], cpus) as server:
        yield server


@contextmanager
def _loaded(work: Work, peer: Peer, effort: Effort, pem: str) -> Iterator[tuple[Process, Process]]:
    """A server that is ready, and its load, which has just begun."""
    with _server(work, peer, pem) as server:
        job: dict[str, Any] = {
            "port": wait_ready(server),
            "pid": server.pid,
            "seconds": effort.seconds / effort.slices(work),
            "warmup": effort.warmup,
            "params": work.params,
        }
        with load_started(work.load, job) as load:
            yield server, load


def _flattened(figures: Sample) -> Sample:
    """What a server measured itself: of a list, the median."""
    return {name: median(value) if isinstance(value, list) else value for name, value in figures.items()}
