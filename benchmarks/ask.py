"""python -m benchmarks.ask PORT PID: what one server that runs already does with a load.

The process PID listens on PORT of this machine and answers what the load sends: with the same bytes (echo),
or each line with as many bytes (lines). Its processor time is read from outside, children included, so any
server will do. Give the server and this program a processor each: `taskset -c 0 …`, `taskset -c 1 …`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .load import DRIVEN
from .load.connect import ENDINGS
from .load.job import Job, Meter

FIGURES = {
    "rate": "{:,.0f} operations a second",
    "cpu_us": "{:.1f} µs of the server's processor time for each",
    "p50_us": "{:,.0f} µs latency, median",
    "p99_us": "{:,.0f} µs latency, 99 %",
    "p999_us": "{:,.0f} µs latency, 99.9 %",
    "rss_mib": "{:.1f} MiB of resident memory at the end",
    "server_busy": "{:.0%} of a processor used by the server",
    "loader_busy": "{:.0%} by the load: near 100 % the rate is its own, and only the processor time counts",
}


def load_and_params(chosen: argparse.Namespace) -> tuple[str, dict[str, object]]:
    """The name of the load, and what it wants to know."""
    if chosen.work == "connect":
        return "connect", {"in_flight": chosen.connections, "ending": chosen.ending}
    if chosen.work == "handshakes":
        return "handshakes", {"in_flight": chosen.connections}
    lines = {"lines": chosen.at_once} if chosen.work == "lines" else {}
    size = chosen.size * lines.get("lines", 1)
    return "exchange", {"connections": chosen.connections, "size": size, "tls": chosen.tls, **lines}


def positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[2], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("port", type=int)
    parser.add_argument("pid", type=int)
    parser.add_argument("--work", choices=("echo", "lines", "connect", "handshakes"), default="echo")
    parser.add_argument("--connections", type=positive, default=64, help="how many at once (64)")
    parser.add_argument("--size", type=positive, default=64, help="bytes of a message or line (64)")
    parser.add_argument("--at-once", type=positive, default=1, help="lines in one write (1)")
    parser.add_argument("--ending", choices=ENDINGS, default="close", help="how a client of connect ends")
    parser.add_argument("--tls", action="store_true", help="TLS, without looking at the certificate")
    parser.add_argument("--seconds", type=float, default=3.0)
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    chosen = arguments(given)
    name, params = load_and_params(chosen)
    job = Job(chosen.port, chosen.pid, seconds=chosen.seconds, params=params)
    try:
        meter = Meter(job, DRIVEN[name](job).drive)
        meter.warm_up()
        meter.take_slice()
        found = meter.figures()
    except (OSError, RuntimeError) as error:  # nobody listens, or does not answer as the work wants it
        raise SystemExit(f"port {chosen.port}, process {chosen.pid}: {error}") from error
    for figure, words in FIGURES.items():
        print(words.format(found[figure]))


if __name__ == "__main__":
    main()
