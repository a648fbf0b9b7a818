"""What type checkers say about compat servers, threads and green; see serving.py."""

from __future__ import annotations

from typing import assert_type

import trio

import triosock
from triosock import compat


class Handler(compat.StreamRequestHandler):
    def handle(self) -> None:
        assert_type(compat.blocking(int, "5"), int)
        compat.blocking(int, 5, 6, 7, 8)  # type: ignore[arg-type]
        compat.sleep("long")  # type: ignore[arg-type]
        assert_type(compat.run(trio.sleep, 1), None)
        compat.run(trio.sleep)  # type: ignore[arg-type]


class Green(compat.GreenMixIn, compat.TCPServer):
    trio_policy = compat.Policy(request_timeout=30, max_requests=10, blocking_after=0.5)


async def serving(nursery: trio.Nursery) -> None:
    with Green(("127.0.0.1", 0), Handler) as server:
        assert_type(await compat.serve(server), triosock.DrainReport)
        assert_type(compat.drain(server, grace=3), triosock.DrainReport)
        assert_type(compat.statistics(server), triosock.ServerStatistics)
        await compat.serve(Handler)  # type: ignore[arg-type]
    compat.Policy(mode="own")
    compat.Policy(mode="blue")  # type: ignore[arg-type]
    compat.Policy(max_request=3)  # type: ignore[call-arg]
    compat.GreenUnixDatagramServer("/socket", Handler)
