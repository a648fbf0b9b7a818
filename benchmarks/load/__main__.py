"""`python -m benchmarks.load NAME JOB`: one load, which prints its figures as one line of JSON.

A load that is driven says `ready` when it has warmed up, and then works for one slice for each line of its
input, and says `done`; it prints its figures at the end of the input. The others do all of it at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable

from . import DRIVEN, WHOLE
from .job import Drive, Job, Meter


def run(name: str, job: Job, orders: Iterable[str], say: Callable[[str], None]) -> None:
    if name in WHOLE:
        say(json.dumps(WHOLE[name](job)))
        return
    drive: Drive = DRIVEN[name](job).drive
    meter = Meter(job, drive)
    meter.warm_up()
    say("ready")
    for _ in orders:
        meter.take_slice()
        say("done")
    say(json.dumps(meter.figures()))


if __name__ == "__main__":
    run(sys.argv[1], Job(**json.loads(sys.argv[2])), sys.stdin, lambda line: print(line, flush=True))
