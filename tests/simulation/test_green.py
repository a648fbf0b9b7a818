"""Unchanged sync handlers in a simulated world: they run, are drained and cut, their faults are found."""

from __future__ import annotations

import socketserver
import time

import pytest
import trio

from tests.simulation.green_scenarios import Shout, carelessness, http_requests, shouting
from tests.simulation.scenarios import ask, one_client
from triosock import Connection, compat
from triosock.testing.simulation import Faults, NotSimulated, SimulationFailed, World, simulate


@pytest.mark.parametrize("scenario", [shouting, http_requests])
@pytest.mark.parametrize("faults", [Faults(), Faults.network(), Faults.all()], ids=["none", "network", "all"])
def test_unchanged_handlers_pass(scenario, faults: Faults) -> None:
    assert simulate(scenario, seeds=40, faults=faults).runs == 40


def test_the_fault_of_a_handler_is_found() -> None:
    simulate(carelessness, seeds=40)
    with pytest.raises(SimulationFailed, match="is no line"):
        simulate(carelessness, seeds=40, faults=Faults(cuts=0.5), shrink=1)


def test_a_drain_answers_who_has_asked_and_ends_the_idle() -> None:
    class Slow(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                compat.sleep(5)
                self.wfile.write(line.upper())

    async def scenario(world: World) -> None:
        server = await world.serve(compat.green_handler(Slow))
        ended: list[float] = []

        async def idle() -> None:
            conn = await world.connect(server)
            await conn.send_all(b"x\n")
            assert await conn.receive_until(b"\n") == b"X\n"
            assert await conn.receive_some() == b""
            ended.append(trio.current_time())

        async def busy() -> None:
            conn = await world.connect(server)
            await trio.sleep(8)
            await conn.send_all(b"x\n")
            assert await conn.receive_until(b"\n") == b"X\n"

        world.client(idle)
        world.client(busy)
        await trio.sleep(10)
        server.drain(grace=30)
        world.check(lambda: ended == [10.0])
        world.check(lambda: server.report is not None and server.report.cancelled == 0)

    simulate(scenario, seeds=20)


def test_the_end_of_the_grace_is_raised_where_the_handler_waits() -> None:
    told: list[str] = []

    class Endless(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1)
            try:
                compat.sleep(1000)
            finally:
                told.append("cut")

    async def scenario(world: World) -> None:
        server = await world.serve(compat.green_handler(Endless))

        async def wait() -> None:
            conn = await world.connect(server)
            await conn.send_all(b"x")
            with pytest.raises(trio.BrokenResourceError):
                await conn.receive_some()

        world.client(wait)
        await trio.sleep(1)
        server.drain(grace=3)
        world.check(lambda: server.report is not None and server.report.cancelled == 1)

    simulate(scenario, seeds=5)
    assert told == ["cut"] * 5


@pytest.mark.parametrize("blocks", [lambda: time.sleep(1), lambda: compat.blocking(time.sleep, 1)])
def test_what_blocks_or_needs_a_thread_is_refused(blocks) -> None:
    class Blocks(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            blocks()

    async def scenario(world: World) -> None:
        server = await world.serve(compat.green_handler(Blocks))
        world.client(ask, world, server, 1)

    with pytest.raises(NotSimulated):
        simulate(scenario, seeds=1)


def test_a_handler_that_fails_fails_the_run_unless_it_may() -> None:
    class Fails(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            raise LookupError(self.rfile.readline().decode())

    async def talk(conn: Connection) -> None:
        await conn.send_all(b"no such thing\n")
        assert await conn.receive_some() == b""

    fails = compat.green_handler(Fails)
    simulate(one_client(talk, fails, may_fail=(LookupError,)), seeds=5)
    with pytest.raises(SimulationFailed, match="no such thing"):
        simulate(one_client(talk, fails), seeds=1, shrink=0)


def test_the_hooks_of_a_server_are_called() -> None:
    called: list[str] = []

    class Server(compat.ThreadingTCPServer):
        def verify_request(self, request, client_address):
            called.append("verify")
            return client_address[0] != "192.0.2.1"

        def finish_request(self, request, client_address):
            called.append("finish")
            super().finish_request(request, client_address)

        def shutdown_request(self, request):
            called.append("shutdown")
            super().shutdown_request(request)

    with Server(("127.0.0.1", 0), Shout, bind_and_activate=False) as owner:

        async def scenario(world: World) -> None:
            server = await world.serve(compat.green_handler(Shout, owner))
            world.client(ask, world, server, 1)

        simulate(scenario, seeds=1)
    assert called == ["verify", "finish", "shutdown"]
