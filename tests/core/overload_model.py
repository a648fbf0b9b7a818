"""A server under overload, in virtual time: a real `Gradient` and `Registry`, everything else simulated.

It has `workers` places of capacity, each of which does one connection at a time. With `loop` it is an event
loop instead: it accepts what has come, then runs the handlers of all whom it has taken, one after another,
and neither accepts nor hears of a closed connection meanwhile. Clients come by chance at `load` times its
capacity, whether or not others were answered; or `closed` of them come again and again, those that are
refused after 10 ms. A client closes `closing` seconds after its answer, by chance, and holds its slot until
then.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from triosock import AdaptiveLimit, Limits
from triosock._core.registry.gradient import Gradient
from triosock._core.registry.registry import Entry, Registry

#: Who has no answer after so many seconds has left.
PATIENCE = 1.0


@attrs.frozen(kw_only=True)
class Scene:
    """What happens."""

    workers: int = 1
    #: Seconds of a worker for each connection, on average, and by what they are spread: 0 for not at all, the
    #: sigma of a lognormal distribution, or "exponential".
    work: float = 0.004
    spread: float | str = 0.0
    loop: bool = False
    load: float = 2.0
    closed: int = 0
    closing: float = 0.0
    seconds: float = 20.0
    #: The machine stands still: when, and for how long.
    stalls: tuple[tuple[float, float], ...] = ()
    #: It becomes slower or faster: when, and how fast it is then.
    speeds: tuple[tuple[float, float], ...] = ()

    def capacity(self, begin: float, end: float) -> float:
        """Return how many connections can be done in that time."""
        edges = [(0.0, 1.0), *self.speeds, (end, 0.0)]
        spans = [
            (max(begin, one), min(end, other), speed)
            for (one, speed), (other, _) in itertools.pairwise(edges)
        ]
        seconds = sum(max(0.0, until - since) * speed for since, until, speed in spans)
        stalled = sum(length for when, length in self.stalls if begin <= when < end)
        return (seconds - stalled) * self.workers / self.work


class Run:
    """One run of a scene."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.chance = random.Random(seed)
        self.registry = Registry(Limits())
        self.gradient = Gradient(AdaptiveLimit(), self.registry, 0.0)
        self.now = 0.0
        self.speed = 1.0
        self.came = 0
        #: When each that was answered came, and when it was.
        self.answered: list[tuple[float, float]] = []
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = itertools.count()
        self._stalled_until = 0.0
        self._busy = 0
        self._in_turn = False
        self._arrivals: list[float] = []
        self._taken: list[tuple[Entry, float]] = []
        self._closed: list[Entry] = []
        for when, length in scene.stalls:
            self._at(when, self._stall, length)
        for when, speed in scene.speeds:
            self._at(when, self._change_speed, speed)
        for _ in range(scene.closed):
            self._at(self.chance.uniform(0, 0.01), self._arrive)
        if not scene.closed:
            self._at(0.0, self._come)
        while self._agenda[0][0] < scene.seconds:
            self.now, _, call, arguments = heapq.heappop(self._agenda)
            call(*arguments)
        self.registry.check()

    # What is measured

    def _times(self, begin: float, end: float) -> Iterable[float]:
        return (done - came for came, done in self.answered if begin <= done < end)

    def goodput(self, begin: float, end: float) -> float:
        """Return the answers within the patience, as a share of what could be done in that time."""
        return sum(time <= PATIENCE for time in self._times(begin, end)) / self.scene.capacity(begin, end)

    def p99(self, begin: float, end: float) -> float:
        """Return how long the slowest hundredth of those that were answered had to wait, at least."""
        times = sorted(self._times(begin, end))
        return times[int(len(times) * 0.99)]

    # The machine

    def _at(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._agenda, (when, next(self._numbers), call, arguments))

    def _stall(self, length: float) -> None:
        self._stalled_until = self.now + length

    def _change_speed(self, speed: float) -> None:
        self.speed = speed

    def _is_put_off(self, call: Callable[..., None], *arguments: Any) -> bool:
        """Whether the machine stands still; then the call is made when it goes on."""
        if self.now >= self._stalled_until:
            return False
        self._at(self._stalled_until, call, *arguments)
        return True

    def _duration(self) -> float:
        scene = self.scene
        work = scene.work / self.speed
        if isinstance(scene.spread, str):
            return self.chance.expovariate(1 / work)
        return work * self.chance.lognormvariate(-(scene.spread**2) / 2, scene.spread)

    # Clients

    def _come(self) -> None:
        self._arrive()
        scene = self.scene
        self._at(self.now + self.chance.expovariate(scene.load * scene.workers / scene.work), self._come)

    def _arrive(self) -> None:
        self.came += 1
        self._arrivals.append(self.now)
        self._serve()

    def _close(self, entry: Entry) -> None:
        self._closed.append(entry)
        self._serve()

    # The server

    def _serve(self) -> None:
        """Hear of what has happened, and begin what can be begun."""
        if self._in_turn or self._is_put_off(self._serve):
            return
        closed, self._closed = self._closed, []
        for entry in closed:
            self.gradient.end_rest(entry)
            self.registry.remove(entry)
            if self.scene.closed:
                self._at(self.now, self._arrive)
        arrivals, self._arrivals = self._arrivals, []
        for came in arrivals:
            self._accept(came)
        if self.scene.loop:
            self._take_turn()
        else:
            self._give_work()

    def _accept(self, came: float) -> None:
        if self.registry.has_room:
            entry = Entry(self.now, lambda: self.now)
            self.registry.add(entry)
            self._taken.append((entry, came))
        elif self.scene.closed:
            self._at(self.now + 0.01, self._arrive)

    def _give_work(self) -> None:
        while self._taken and self._busy < self.scene.workers:
            self._busy += 1
            self._at(self.now + self._duration(), self._finish, *self._taken.pop(0))

    def _take_turn(self) -> None:
        taken, self._taken = self._taken, []
        self.chance.shuffle(taken)  # as trio does
        ends = self.now
        for entry, came in taken:
            ends += self._duration()
            self._at(ends, self._answer, entry, came)
        if taken:
            self._in_turn = True
            self._at(ends, self._end_turn)

    def _end_turn(self) -> None:
        if not self._is_put_off(self._end_turn):
            self._in_turn = False
            self._serve()

    def _finish(self, entry: Entry, came: float) -> None:
        if not self._is_put_off(self._finish, entry, came):
            self._busy -= 1
            self._answer(entry, came)
            self._give_work()

    def _answer(self, entry: Entry, came: float) -> None:
        self.answered.append((came, self.now))
        self.gradient.note(entry.accepted, self.now)
        self.gradient.begin_rest(entry)
        closing = self.scene.closing
        self._at(self.now + (self.chance.expovariate(1 / closing) if closing else 0.0), self._close, entry)
