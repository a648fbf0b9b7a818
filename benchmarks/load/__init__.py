"""The load generator: `python -m benchmarks.load NAME JOB`, with the job as JSON; its figures are JSON too.

Each file is one shape of load, a class with `drive(stop_at, limit)`, which `job.Meter` drives to warm up and
then for each slice.
"""

from __future__ import annotations

from collections.abc import Callable

from . import idle
from .bulk import Bulk
from .connect import Connects
from .exchange import Exchange
from .fairness import Fairness
from .job import Job
from .tls import Handshakes
from .udp import Bursts, RequestResponse

#: Loads that work slice by slice, when they are told to.
DRIVEN: dict[str, type] = {
    "exchange": Exchange,
    "connect": Connects,
    "bulk": Bulk,
    "handshakes": Handshakes,
    "udp": RequestResponse,
    "bursts": Bursts,
    "fairness": Fairness,
}
#: Loads that do all they do at once.
WHOLE: dict[str, Callable[[Job], dict[str, float]]] = {"memory": idle.memory, "drain": idle.drain}
