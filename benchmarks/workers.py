"""`python -m benchmarks.workers`: requests a second, and processor time for each, of one process and of
workers; lines of triosock alone, and HTTP (on h11) beside uvicorn and gunicorn.

The load is two processes of their own that ask and wait, over connections that are kept. On a machine with
few processors they take what the servers could have, so the rate says less than the processor time of each
request, which is that of all processes of the server.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .restart.peers import PEERS, missing

_TICK = os.sysconf("SC_CLK_TCK")
#: Seconds that a server has to listen.
_PATIENCE = 30.0
REQUESTS = {"lines": b"hello world\n", "http": b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"}


@dataclass(frozen=True)
class Kind:
    """One way to serve: `words` after the interpreter, with {port} in them."""

    name: str
    protocol: str
    words: tuple[str, ...]
    workers: int = 0


def _triosock(protocol: str, workers: int) -> Kind:
    handler = (
        "triosock.cli.handlers:shout" if protocol == "lines" else "benchmarks.restart.servers:serve_http"
    )
    words = ("-m", "triosock", "serve", "tcp://127.0.0.1:{port}", "--handler", handler)
    many = ("--workers", str(workers)) if workers else ()
    return Kind(f"triosock {workers or 'one process'}", protocol, (*words, *many), workers)


def _peer(name: str, workers: int) -> Kind:
    words = [word.replace("{workers}", str(workers)) for word in PEERS[name][0]]
    return Kind(f"{name} {workers}", "http", ("-m", *words), workers)


def kinds() -> list[Kind]:
    """All that can be run here; the first of each protocol is what the others are held against."""
    found = [_triosock(protocol, workers) for protocol in REQUESTS for workers in (0, 1, 2)]
    for name in PEERS:
        if why := missing(name):
            print(f"Skipped: {why}", file=sys.stderr)
        else:
            found += [_peer(name, workers) for workers in (1, 2)]
    return found


def main() -> None:
    """Measure in turns, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--load", nargs=3, metavar=("PROTOCOL", "PORT", "SECONDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        print(_load(options.load[0], int(options.load[1]), float(options.load[2])))
        return
    chosen = kinds()
    figures: dict[Kind, list[tuple[float, float]]] = {kind: [] for kind in chosen}
    for number in range(options.rounds):
        for kind in chosen[:: -1 if number % 2 else 1]:
            figures[kind].append(_measure(kind, options.seconds))
    print(
        "| protocol | server, workers | requests/s | CPU µs each | rate beside one process | cost beside it |"
    )
    print("|---|---|---|---|---|---|")
    for kind in chosen:
        alone = figures[next(one for one in chosen if one.protocol == kind.protocol)]
        rate, cost = (statistics.median(one) for one in zip(*figures[kind], strict=True))
        pairs = list(zip(figures[kind], alone, strict=True))
        rates = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
        costs = statistics.median(ours[1] / theirs[1] for ours, theirs in pairs)
        print(f"| {kind.protocol} | {kind.name} | {rate:,.0f} | {cost:.1f} | {rates:.2f} | {costs:.2f} |")


def _measure(kind: Kind, seconds: float) -> tuple[float, float]:
    with _serving(kind) as (process, port):
        serving = [process, *_children(process)]
        before = sum(map(_processor_time, serving))
        command = [
            sys.executable,
            "-m",
            "benchmarks.workers",
            "--load",
            kind.protocol,
            str(port),
            str(seconds),
        ]
        loads = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        answers = sum(int(load.communicate()[0]) for load in loads)
        spent = sum(map(_processor_time, serving)) - before
    return answers / seconds, 1e6 * spent / answers


@contextlib.contextmanager
def _serving(kind: Kind) -> Iterator[tuple[int, int]]:
    """A server that answers: its process and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as output:
        words = [word.replace("{port}", str(port)) for word in kind.words]
        process = subprocess.Popen([sys.executable, *words], stdout=output, stderr=output)
        try:
            _wait_ready(process, port, kind)
            yield process.pid, port
        finally:
            process.terminate()
            process.wait()


def _wait_ready(process: subprocess.Popen[bytes], port: int, kind: Kind) -> None:
    """All workers are there, and one answers. Nothing tells it of all of these servers, so it is tried."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as sock:
            sock.sendall(REQUESTS[kind.protocol])
            # uvicorn with one worker is one process.
            if sock.recv(1000) and (kind.workers < 2 or len(_children(process.pid)) >= kind.workers):
                time.sleep(1.0)  # the last worker's imports
                return
        time.sleep(0.05)
    raise RuntimeError(f"{kind.name} does not answer")


def _children(process: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _processor_time(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _load(protocol: str, port: int, seconds: float, connections: int = 32) -> int:
    """Return how many answers came. Each is one piece: a few bytes on loopback."""
    answers, request = 0, REQUESTS[protocol]
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.sendall(request)
            selector.register(sock, selectors.EVENT_READ, sock)
        while time.monotonic() < end:
            for key, _ in selector.select(1):
                data = key.data.recv(1000)
                if not data:
                    raise ConnectionError("the server closed")
                # uvicorn sends head and body in two pieces, in which only the second ends an answer.
                if data.endswith((b"hello", b"\n")) and not data.endswith(b"\r\n\r\n"):
                    answers += 1
                    key.data.sendall(request)
        for key in list(selector.get_map().values()):
            key.data.close()
    return answers


if __name__ == "__main__":
    main()
