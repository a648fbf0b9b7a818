"""Rounds are interleaved, bounded in time, and lose nothing that went wrong."""

import pytest

from benchmarks import rounds, taking, works
from benchmarks.process import RunFailed
from benchmarks.rounds import Result, measure
from benchmarks.taking import Effort
from benchmarks.works import BY_NAME

LINES = BY_NAME["lines"]


@pytest.fixture
def taken(monkeypatch):
    """Who was measured, in order; nothing is really started."""
    names = []

    def take(work, peers, effort, pem=""):
        names.extend(f"{work.name}/{peer.name}" for peer in peers)
        return {peer.name: {"rate": 1.0} for peer in peers}

    monkeypatch.setattr(rounds, "take", take)
    return names


def servers(work, *names):
    return (work, [peer for peer in work.peers if peer.name in names])


def silent(line):
    pass


def counts(result):
    """How many samples of lines there are, by their servers."""
    return {name: len(samples) for name, samples in result.samples["lines"].items()}


def test_rounds_alternate_between_servers_and_every_second_one_goes_backwards(taken):
    measure([servers(LINES, "trio", "asyncio", "epoll")], Effort(rounds=3), silent)
    one_round = ["lines/trio", "lines/asyncio", "lines/epoll"]
    assert taken == one_round + one_round[::-1] + one_round


def test_what_is_unclear_after_its_rounds_is_measured_in_three_times_as_many(taken):
    seen = []

    def unclear(result):
        seen.append(counts(result))
        return [servers(LINES, "trio", "epoll")]

    plan = [servers(LINES, "trio", "asyncio", "epoll")]
    result = measure(plan, Effort(rounds=2), silent, unclear)
    assert seen == [{"trio": 2, "asyncio": 2, "epoll": 2}]
    assert counts(result) == {"trio": 6, "asyncio": 2, "epoll": 6}
    assert taken[6:10] == ["lines/trio", "lines/epoll", "lines/epoll", "lines/trio"]


def test_every_sample_is_kept_under_its_server(taken):
    result = measure([servers(LINES, "trio", "epoll")], Effort(rounds=4), silent)
    assert counts(result) == {"trio": 4, "epoll": 4}
    assert not result.cut_short


def test_nothing_begins_after_the_budget(taken):
    result = measure([servers(LINES, "trio", "epoll")], Effort(rounds=4, budget=-1), silent)
    assert taken == []
    assert result.cut_short


def test_a_server_that_is_not_installed_is_skipped_and_named(taken, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "trio" else object())
    result = measure([servers(LINES, "trio", "epoll")], Effort(rounds=1), silent)
    assert taken == ["lines/epoll"]
    assert result.skipped == ["trio: trio is not installed"]


def test_a_failure_is_a_sample_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr(taking, "started", failing)
    told = []
    result = measure([servers(LINES, "trio", "epoll")], Effort(rounds=1), told.append)
    assert all("deliberate" in samples[0]["error"] for samples in result.samples["lines"].values())
    assert len(told) == 2
    assert all("FAILED: deliberate" in line for line in told)


def failing(module, arguments, cpus):
    raise RunFailed("deliberate")


def test_a_result_survives_its_file():
    result = Result(Effort(rounds=2), {"python": "3"}, {"lines": {"trio": [{"rate": 1.5}]}}, ["x"], True)
    assert Result.from_json(result.to_json()) == result


def test_the_machine_is_described_without_naming_it():
    assert set(rounds.machine()) == {"python", "kernel", "processors", "versions"}


def test_names_are_unique_and_every_work_has_somebody_to_compare_with():
    assert len(works.BY_NAME) == len(works.WORKS)
    for work in works.WORKS:
        assert work.pairs({peer.name for peer in work.peers}), work.name
