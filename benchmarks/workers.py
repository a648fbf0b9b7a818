"""`python -m benchmarks.workers`: requests a second, and processor time for each, of one process and of
workers.

The load is processes of their own that send a line and wait for it, over connections that are kept. On a
machine with few processors they take what the servers could have, so the rate says less than the time for
each request.
"""

from __future__ import annotations

import argparse
import os
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HANDLER = "triosock.cli.handlers:shout"
_TICK = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure in turns, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", nargs=2, metavar=("PORT", "SECONDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        print(_load(int(options.load[0]), float(options.load[1])))
        return
    kinds = {"one process": [], "1 worker": ["--workers", "1"], "2 workers": ["--workers", "2"]}
    best: dict[str, tuple[float, float]] = {}
    for _ in range(options.rounds):
        for name, words in kinds.items():
            rate, cost = _measure(words, options.seconds)
            before = best.get(name, (0.0, float("inf")))
            best[name] = (max(before[0], rate), min(before[1], cost))
    single = best["one process"]
    print(f"{'':12} {'requests/s':>11} {'µs of processor each':>21} {'beside one process':>19}")
    for name, (rate, cost) in best.items():
        print(f"{name:12} {rate:11.0f} {cost:21.1f} {rate / single[0]:9.2f} {cost / single[1]:9.2f}")


def _measure(words: list[str], seconds: float) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with open(log, "wb") as output:
            command = [sys.executable, "-m", "triosock", "serve", "tcp://127.0.0.1:0", "--handler", HANDLER]
            process = subprocess.Popen([*command, *words], stderr=output)
        try:
            port = _port(log, r"workers on tcp://\S+:(\d+)" if words else r"listens on tcp://\S+:(\d+)")
            serving = _children(process.pid) if words else [process.pid]
            before = sum(map(_processor_time, serving))
            loads = [
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.workers", "--load", str(port), str(seconds)],
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for _ in range(2)
            ]
            answers = sum(int(load.communicate()[0]) for load in loads)
            spent = sum(map(_processor_time, serving)) - before
        finally:
            process.terminate()
            process.wait()
    return answers / seconds, 1e6 * spent / answers


def _port(log: Path, pattern: str) -> int:
    deadline = time.monotonic() + 30
    while not (match := re.search(pattern, log.read_text())):
        if time.monotonic() > deadline:
            raise RuntimeError(log.read_text())
        time.sleep(0.05)
    return int(match[1])


def _children(process: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _processor_time(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _load(port: int, seconds: float, connections: int = 32) -> int:
    answers = 0
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.sendall(b"hello world\n")
            selector.register(sock, selectors.EVENT_READ)
        while time.monotonic() < end:
            for key, _ in selector.select(1):
                sock = key.fileobj  # type: ignore[assignment]
                answers += sock.recv(100).endswith(b"\n")
                sock.sendall(b"hello world\n")
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
    return answers


if __name__ == "__main__":
    main()
