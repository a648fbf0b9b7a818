"""Each server that can be run here does each work that it says it can: a tiny run with the real load.

Nothing is asserted of any speed.
"""

import dataclasses

import pytest

from benchmarks.peers import PEERS
from benchmarks.process import certificate
from benchmarks.taking import Effort, take
from benchmarks.works import WORKS

TINY = Effort(rounds=1, seconds=0.2, warmup=0.02)
#: What a load is cut down to, so that each kind is tried and none takes long.
SMALL = {"connections": 4, "in_flight": 2, "sockets": 4, "burst": 20, "idle": 20, "busy": 5}


def small(work):
    params = {name: min(value, SMALL.get(name, value)) for name, value in work.params.items()}
    return dataclasses.replace(work, params=params)


def cases():
    """Each server with each kind that it can do, each work with one server; a server's first one is quick."""
    servers, kinds = set(), set()
    for work in WORKS:
        for peer in work.peers:
            if (peer.name, work.kind) in kinds and peer is not work.peers[-1]:
                continue
            marks = [pytest.mark.skipif(not peer.installed, reason=f"needs {peer.needs}")]
            if peer.name in servers:
                marks.append(pytest.mark.slow)
            servers.add(peer.name)
            kinds.add((peer.name, work.kind))
            yield pytest.param(small(work), peer, marks=marks, id=f"{work.name}-{peer.name}")


@pytest.fixture(scope="module")
def pem():
    pytest.importorskip("trustme")
    with certificate() as path:
        yield path


@pytest.mark.parametrize(("work", "peer"), list(cases()))
def test_a_tiny_run(work, peer, pem):
    figures = take(work, [peer], TINY, pem)[peer.name]
    assert "error" not in figures, figures["error"]
    for measure in work.measures:
        assert measure in figures
    if work.in_slices:
        assert figures["count"] > 0
        assert figures["cpu_us"] > 0
        assert figures["p50_us"] <= figures["p99_us"]
    if work.load == "drain" and peer.name == "triosock":
        assert (figures["answered"], figures["resets"]) == (5, 0)


def test_every_server_does_something():
    able = {peer.name for work in WORKS for peer in work.peers}
    assert able == {peer.name for peer in PEERS}
