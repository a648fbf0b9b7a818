"""What the adaptive limit keeps under twice the load that can be done: goodput, latency, and how soon it
recovers. In a model of the server (`overload_model.py`), so that it is the controller that is measured, and
not the machine.
"""

from __future__ import annotations

import pytest

from tests.core.overload_model import PATIENCE, Run, Scene

SEEDS = [1, 2, 3, 5]

#: From 50 to 500 ms, every three seconds.
STALLS = ((6.0, 0.05), (9.0, 0.2), (12.0, 0.5), (15.0, 0.1), (17.0, 0.3))

#: What happens, and within how many times the work of one connection 99 of 100 are answered.
SCENES = {
    "a loop": (Scene(loop=True), 20),
    "a loop, and clients that close late": (Scene(loop=True, closing=0.03), 20),
    "a loop, work of all sizes, and clients that close late": (
        Scene(loop=True, closing=0.01, spread="exponential"),
        40,
    ),
    "a loop that stalls": (Scene(loop=True, closing=0.01, spread=0.3, stalls=STALLS), 40),
    "one worker": (Scene(spread=0.5), 20),
    "one worker, and clients that close late": (Scene(closing=0.05), 20),
    "one quick worker, and clients that close late": (Scene(work=0.001, closing=0.03), 20),
    "one worker, work of all sizes": (Scene(work=0.02, spread="exponential"), 30),
    "one worker that stalls": (Scene(spread=0.5, stalls=STALLS), 40),
    "a few workers": (Scene(workers=4, work=0.02, spread=0.5, closing=0.02), 8),
    "many workers": (Scene(workers=16, work=0.02, spread=0.5), 8),
    "many workers that stall": (Scene(workers=16, work=0.02, spread=0.5, stalls=STALLS), 12),
    "many slow workers": (Scene(workers=16, work=0.1, spread=0.5), 8),
    "many slow workers, work of all sizes": (Scene(workers=16, work=0.1, spread="exponential"), 8),
    "a closed loop": (Scene(closed=50, spread=0.5, closing=0.005), 20),
    "a closed loop, many workers": (Scene(closed=100, workers=16, work=0.02, spread=0.5), 8),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SCENES)
def test_goodput_stays_and_what_is_served_is_served_soon(name: str, seed: int) -> None:
    scene, most = SCENES[name]
    run = Run(scene, seed)
    assert run.goodput(5, 20) >= 0.9
    assert run.p99(5, 20) <= most * scene.work


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("loop", [True, False])
def test_the_second_after_a_stall_is_as_good_as_any(seed: int, loop: bool) -> None:
    run = Run(Scene(loop=loop, spread=0.3, closing=0.01, stalls=((6.0, 0.5), (12.0, 0.5))), seed)
    for begin in (6.5, 12.5):
        assert run.goodput(begin, begin + 1) >= 0.9


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("workers", [1, 4, 16])
def test_a_machine_that_becomes_slower_and_faster_again_is_followed_in_two_seconds(
    workers: int, seed: int
) -> None:
    scene = Scene(
        workers=workers, work=0.02, spread=0.5, closing=0.01, seconds=40, speeds=((15, 0.5), (30, 1.0))
    )
    run = Run(scene, seed)
    assert run.goodput(5, 15) >= 0.9
    assert run.goodput(17, 30) >= 0.9
    assert run.goodput(32, 40) >= 0.9


@pytest.mark.parametrize("seed", SEEDS)
def test_measuring_the_ideal_costs_little(seed: int) -> None:
    run = Run(Scene(workers=16, work=0.02, spread=0.5, seconds=140), seed)
    assert run.goodput(5, 140) >= 0.95


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scene", [Scene(load=0.6, closing=0.02), Scene(workers=16, work=0.02, load=0.6)])
def test_below_the_capacity_nearly_all_are_served(scene: Scene, seed: int) -> None:
    run = Run(scene, seed)
    assert len(run.answered) >= 0.95 * run.came


def test_without_a_limit_the_model_collapses() -> None:
    """So that the figures above are the limit's doing."""

    class Boundless(Run):
        def _accept(self, came: float) -> None:
            self.gradient.limit = 10_000.0
            self.gradient._apply()
            super()._accept(came)

    run = Boundless(Scene(), 1)
    assert run.goodput(5, 20) < 0.1
    assert run.p99(5, 20) > PATIENCE
