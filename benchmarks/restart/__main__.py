"""`python -m benchmarks.restart`: restarts and upgrades under load, and a table of what was lost."""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import trio

from .clients import Tally, ask_http, ask_lines
from .haproxy import is_installed, proxying
from .peers import PEERS, missing, serving_peer
from .services import Service, serving

#: What must be zero. "ended" of lines may be more: see clients.py.
FATAL = ("failed", "reset", "twice", "refused")


def main(argv: list[str] | None = None) -> int:
    """Run the proof; return 0 if nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restart", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--upgrades", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=16, help="of each protocol")
    parser.add_argument("--direct", action="store_true", help="without HAProxy, to one service")
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=[], help="others to run beside, with HTTP"
    )
    options = parser.parse_args(argv)
    if not options.direct and not is_installed():
        print("haproxy is not installed", file=sys.stderr)
        return 2
    tallies = trio.run(_prove, options)
    others = {kind: trio.run(_prove_peer, options, kind) for kind in options.peers if not _is_missing(kind)}
    print(f"{'':8}{'answers':>10}" + "".join(f"{name:>10}" for name in (*FATAL, "ended")))
    for name, tally in {**tallies, **others}.items():
        counts = "".join(f"{tally.trouble[one]:>10}" for one in (*FATAL, "ended"))
        print(f"{name:8}{tally.answers:>10}{counts}")
        for example in tally.examples:
            print(f"    {example}")
    lost = sum(tally.trouble[one] for tally in tallies.values() for one in FATAL)
    if not options.direct:
        lost += tallies["http"].trouble["ended"]
    print("nothing was lost" if not lost else f"{lost} lost")
    return 1 if lost else 0


async def _prove(options: argparse.Namespace) -> dict[str, Tally]:
    tallies = {name: Tally(options.requests // 2) for name in ("http", "lines")}
    with tempfile.TemporaryDirectory() as name:
        async with AsyncExitStack() as running:
            ports = _free_ports(6)
            services = [
                await running.enter_async_context(
                    serving(Path(name), one, *pair, workers=options.workers, proxy=not options.direct)
                )
                for one, pair in (("a", ports[:2]), ("b", ports[2:4]))
            ]
            http, lines = ports[4:] if not options.direct else ports[:2]
            if not options.direct:
                await running.enter_async_context(proxying(Path(name), http, lines, services))
            async with trio.open_nursery() as nursery:
                for who in range(options.clients):
                    ask = partial(ask_http, may_end=options.direct)
                    nursery.start_soon(ask, http, who, tallies["http"])
                    nursery.start_soon(ask_lines, lines, who, tallies["lines"])
                await _disturb(services[:1] if options.direct else services, options, tallies)
                for tally in tallies.values():
                    tally.is_over = True
    return tallies


def _is_missing(kind: str) -> bool:
    if why := missing(kind):
        print(why, file=sys.stderr)
    return bool(why)


async def _prove_peer(options: argparse.Namespace, kind: str) -> Tally:
    """The same restarts of two services of another kind, behind the same proxy. Reloads for upgrades."""
    tally = Tally(options.requests // 2)
    with tempfile.TemporaryDirectory() as name:
        async with AsyncExitStack() as running:
            *ports, http = _free_ports(3)
            services: list[Service] = [
                await running.enter_async_context(
                    serving_peer(Path(name), kind, f"peer{port}", port, options.workers)
                )
                for port in ports
            ]
            await running.enter_async_context(proxying(Path(name), http, 0, services, header=False))
            async with trio.open_nursery() as nursery:
                for who in range(options.clients):
                    nursery.start_soon(partial(ask_http, may_end=False), http, who, tally)
                await _disturb(services, options, {kind: tally})
                tally.is_over = True
    return tally


async def _disturb(services: list[Service], options: argparse.Namespace, tallies: dict[str, Tally]) -> None:
    """Restart and upgrade, one service after the other, spread over the requests."""
    deeds = ["restart"] * options.restarts
    for index in range(options.upgrades):
        deeds.insert((index + 1) * len(deeds) // (options.upgrades + 1), "upgrade")
    for index, deed in enumerate(deeds):
        await _answered(tallies, index / (len(deeds) + 1))
        service = services[index % len(services)]
        await (service.restart() if deed == "restart" else service.upgrade())
    await _answered(tallies, 1)


async def _answered(tallies: dict[str, Tally], share: float) -> None:
    while any(tally.answers < tally.wanted * share for tally in tallies.values()):
        await trio.sleep(0.02)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


if __name__ == "__main__":
    sys.exit(main())
