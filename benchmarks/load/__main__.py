"""`python -m benchmarks.load NAME JOB`: run one load and print its figures as one line of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from . import idle
from .bulk import Bulk
from .connect import Connects
from .exchange import Exchange
from .fairness import Fairness
from .job import Job, Tally, measured
from .tls import Handshakes
from .udp import Bursts, RequestResponse

DRIVEN: dict[str, type] = {
    "exchange": Exchange,
    "connect": Connects,
    "bulk": Bulk,
    "handshakes": Handshakes,
    "udp": RequestResponse,
    "bursts": Bursts,
    "fairness": Fairness,
}
WHOLE: dict[str, Callable[[Job], dict[str, float]]] = {"memory": idle.memory, "drain": idle.drain}


def run(name: str, job: Job) -> dict[str, float]:
    if name in WHOLE:
        return WHOLE[name](job)
    drive: Callable[[float, float], Tally] = DRIVEN[name](job).drive
    return measured(job, drive)


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], Job(**json.loads(sys.argv[2])))))
