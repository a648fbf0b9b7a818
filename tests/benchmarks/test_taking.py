"""Samples that are compared are taken together, one server working at a time; a failure costs only itself."""

import contextlib
import json

import pytest

from benchmarks import taking
from benchmarks.process import RunFailed
from benchmarks.taking import Effort, take
from benchmarks.works import BY_NAME

LINES = BY_NAME["lines"]
PEERS = {peer.name: peer for peer in LINES.peers}
ORDER = ("trio", "asyncio", "epoll")


class Scripted:
    """In the place of a server and its load: says what a load says, and fails in the slice `fails_in`."""

    def __init__(self, name, log, fails_in):
        self.name, self.log, self.fails_in = name, log, fails_in
        self.slices = 0

    def expect(self, word, within):
        if self.slices == self.fails_in:
            raise RunFailed(f"{self.name} failed deliberately")
        return ""

    def order(self):
        self.slices += 1
        self.log.append(self.name)

    def end_input(self):
        pass

    def line(self, within):
        return json.dumps({"rate": self.slices})


@pytest.fixture
def scripted(monkeypatch):
    """`scripted(**fails_in)`: nothing is really started. What is returned notes each slice and each end."""
    log = []

    def script(**fails_in):
        @contextlib.contextmanager
        def loaded(work, peer, effort, pem):
            try:
                yield None, Scripted(peer.name, log, fails_in.get(peer.name))
            finally:
                log.append(f"end of {peer.name}")

        monkeypatch.setattr(taking, "_loaded", loaded)
        return log

    return script


def take_lines(slices):
    return take(LINES, [PEERS[name] for name in ORDER], Effort(seconds=slices * taking.SLICE))


def test_each_has_a_slice_in_turn_and_every_second_pass_goes_backwards(scripted):
    log = scripted()
    samples = take_lines(slices=3)
    assert log[:9] == [*ORDER, *ORDER[::-1], *ORDER]
    assert samples == {name: {"rate": 3} for name in ORDER}


def test_all_end_at_the_end(scripted):
    log = scripted()
    take_lines(slices=1)
    assert sorted(log[3:]) == sorted(f"end of {name}" for name in ORDER)


@pytest.mark.parametrize("fails_in", [0, 2], ids=["at the start", "in the second slice"])
def test_a_failure_is_a_sample_ends_its_server_at_once_and_the_others_go_on(scripted, fails_in):
    log = scripted(asyncio=fails_in)
    samples = take_lines(slices=3)
    assert samples == {
        "trio": {"rate": 3},
        "asyncio": {"error": "asyncio failed deliberately"},
        "epoll": {"rate": 3},
    }
    assert log.count("asyncio") == fails_in
    assert "trio" in log[log.index("end of asyncio") :]


def test_a_failure_of_what_is_taken_as_a_whole_costs_only_itself(monkeypatch):
    @contextlib.contextmanager
    def server(work, peer, pem):
        raise RunFailed("deliberate")
        yield

    monkeypatch.setattr(taking, "_server", server)
    work = BY_NAME["shutdown"]
    samples = take(work, work.peers, Effort())
    assert samples == {peer.name: {"error": "deliberate"} for peer in work.peers}


def test_a_slice_is_short_but_each_connection_has_its_turn_in_it_several_times():
    effort = Effort(seconds=0.7)
    assert effort.slices(BY_NAME["echo-64"]) == 14
    assert effort.slices(BY_NAME["echo-4000"]) == 2
    assert Effort(seconds=0.01).slices(LINES) == 1
