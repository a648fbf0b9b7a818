"""What a server does at twice the load that it can do: `python -m benchmarks.overload`.

A server in a process of its own holds the loop for WORK milliseconds for each connection, answers and closes.
It sleeps in these, blocking all others as computing would, so that whatever else the machine does counts for
little. First it is found out how many it can do in a second. Then clients come at that rate, and at twice
that rate, whether or not others have been answered (an open loop): each connects, sends a line, and has a
patience of one second; who has no whole answer by then has left, and is not served. That is tried with each
kind of limit:

    none       the defaults
    queue      Limits(max_connections=N): beyond it the kernel's queue, as by default
    fixed      Limits(max_connections=N, overflow="reject")
    lag        Limits(max_lag=0.2)
    adaptive   Limits(adaptive=AdaptiveLimit(), overflow="reject")

Goodput is the whole answers a second within the patience; latencies are theirs. The first third of each run
is not counted.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import trio

import triosock
from triosock import AdaptiveLimit, Limits

PATIENCE = 1.0
FIXED = 50
KINDS = {
    "none": Limits(),
    "queue": Limits(max_connections=FIXED),
    "fixed": Limits(max_connections=FIXED, overflow="reject"),
    "lag": Limits(max_lag=0.2),
    "adaptive": Limits(adaptive=AdaptiveLimit(), overflow="reject"),
}


def make_handler(seconds):
    async def answer(conn):
        if await conn.receive_some():
            time.sleep(seconds)  # it holds the loop as computing would
            await conn.send_all(b"done\n")

    return answer


async def serve(kind, milliseconds):
    async with trio.open_nursery() as nursery:

        async def start(task_status):
            await triosock.serve_tcp(
                make_handler(milliseconds / 1000),
                0,
                host="127.0.0.1",
                backlog=4096,
                limits=KINDS[kind],
                task_status=task_status,
            )

        server = await nursery.start(start)
        print(server.addresses[0].port, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        statistics = server.statistics()
        print(statistics.peak, sum(statistics.refused.values()), flush=True)
        nursery.cancel_scope.cancel()


class Clients:
    """Those of one run."""

    def __init__(self, port, seconds):
        self.port = port
        self.counts_from = trio.current_time() + seconds / 3
        self.ends = trio.current_time() + seconds
        self.latencies = []
        self.came = 0

    async def ask(self):
        began = trio.current_time()
        counts = self.counts_from <= began < self.ends
        self.came += counts
        with trio.move_on_after(PATIENCE):
            try:
                # Past trio's own connecting, which costs as much as the rest.
                with trio.socket.socket() as sock:
                    await sock.connect(("127.0.0.1", self.port))
                    await sock.send(b"hello\n")
                    answer = b""
                    while data := await sock.recv(100):
                        answer += data
                    if answer == b"done\n" and counts:
                        self.latencies.append(trio.current_time() - began)
            except OSError:
                pass

    async def come(self, rate):
        """Come at this rate until the end."""
        number, began = 0, trio.current_time()
        async with trio.open_nursery() as nursery:
            while (now := trio.current_time()) < self.ends:
                while number < (now - began) * rate:
                    nursery.start_soon(self.ask)
                    number += 1
                await trio.sleep(0.001)

    async def come_again(self, count):
        """So many at once, each again and again until the end."""

        async def one():
            while trio.current_time() < self.ends:
                await self.ask()

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)

    def report(self, seconds):
        served = sorted(self.latencies)
        span = seconds * 2 / 3
        if not served:
            return {"goodput": 0.0, "median": float("nan"), "p99": float("nan")}
        return {
            "goodput": len(served) / span,
            "median": served[len(served) // 2],
            "p99": served[int(len(served) * 0.99)],
        }


def run(kind, milliseconds, seconds, how, number):
    command = [sys.executable, "-m", "benchmarks.overload", "--serve", kind, "--work", str(milliseconds)]

    async def clients(port):
        clients = Clients(port, seconds)
        await getattr(clients, how)(number)
        return clients

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        found = trio.run(clients, int(server.stdout.readline()))
        server.stdin.close()
        peak, refused = map(int, server.stdout.readline().split())
    return {**found.report(seconds), "peak": peak, "refused": refused}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--work", type=float, default=4.0, help="milliseconds for each connection")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if arguments.serve:
        trio.run(serve, arguments.serve, arguments.work)
        return
    peak = run("none", arguments.work, arguments.seconds / 2, "come_again", 30)["goodput"]
    print(f"peak: {peak:.0f} connections a second, with 30 at a time", flush=True)
    for load in (1, 2):
        for kind in arguments.kinds:
            found = run(kind, arguments.work, arguments.seconds, "come", peak * load)
            print(
                f"{load} x peak, {kind:9}: {found['goodput']:6.0f}/s = {found['goodput'] / peak:4.0%}, "
                f"median {found['median'] * 1000:5.0f} ms, p99 {found['p99'] * 1000:5.0f} ms, "
                f"{found['peak']} at once, {found['refused']} refused",
                flush=True,
            )


if __name__ == "__main__":
    main()
