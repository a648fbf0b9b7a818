"""Unchanged sync handlers, green, in a simulated world."""

from __future__ import annotations

from tests.simulation.green_scenarios import http_requests, shouting
from triosock.testing.simulation import Faults

SCENARIOS = {
    "green lines": (shouting, Faults(cuts=0.5, latency=0.05, drains=0.3, cancels=0.1, resets=0.1)),
    "green HTTP": (http_requests, Faults(cuts=0.3, small_buffers=0.2, latency=0.05)),
}
