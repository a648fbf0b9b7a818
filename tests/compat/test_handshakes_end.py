"""A client that says nothing in its handshake, at the end of a server."""

from __future__ import annotations

import contextlib
import functools
import socket
import time
from typing import Any

import pytest
import trio

from tests.waiting import PATIENCE, eventually, until
from triosock import compat
from triosock.compat.requests.handshakes import Handshakes
from triosock.compat.requests.table import request_table_of
from triosock.compat.stdlib import deferred_tls

KINDS = ["TCPServer", "ThreadingTCPServer", "GreenTCPServer", "ForkingTCPServer"]
SILENT = [*((kind, "tls") for kind in KINDS), ("GreenTCPServer", "proxy")]


def of_handshakes(kind: str, what: str, handler: Any, contexts: Any) -> Any:
    if what == "proxy":
        policy = {"trio_policy": compat.Policy(proxy=True)}  # type: ignore[arg-type]
        return type(kind, (getattr(compat, kind),), policy)(("127.0.0.1", 0), handler)
    server = getattr(compat, kind)(("127.0.0.1", 0), handler)
    server.socket = contexts[0].wrap_socket(server.socket, server_side=True)
    return server


@pytest.mark.parametrize(("kind", "what"), SILENT)
@pytest.mark.parametrize("how", ["cancel", "drain"])
async def test_it_does_not_delay_the_end(
    kind: str, what: str, how: str, lines: Any, contexts: Any, monkeypatch: Any, capsys: Any
) -> None:
    for module in (deferred_tls.__name__, "triosock.compat.green.proxying"):
        monkeypatch.setattr(f"{module}.TIMEOUT", PATIENCE * 2)
    server = of_handshakes(kind, what, lines, contexts)
    handshakes = request_table_of(server).handshakes
    async with trio.open_nursery() as nursery:
        running = await nursery.start(functools.partial(compat.serve, server, grace=0))
        with socket.create_connection(server.server_address, PATIENCE) as client:
            await until(lambda: handshakes.pending)
            began = time.monotonic()
            running.drain() if how == "drain" else nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                report = await running.wait_closed()
            assert time.monotonic() - began < PATIENCE
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(100) == b""
    assert [one.phase for one in report.slowest] == (["handshake"] if how == "drain" else [])
    assert not handshakes.pending
    assert not handshakes.is_over
    assert capsys.readouterr().err == ""


def test_a_handshake_that_begins_after_a_cut_fails() -> None:
    handshakes = Handshakes()
    handshakes.cut()
    ours, theirs = socket.socketpair()
    with ours, theirs, handshakes.during(ours):
        assert theirs.recv(1) == b""


def test_a_plain_drain_cuts_it_at_its_deadline_and_the_server_can_be_served_again(
    start_tls: Any, contexts: Any, lines: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(deferred_tls, "TIMEOUT", PATIENCE * 2)
    running = start_tls("ThreadingTCPServer", lines)
    handshakes = request_table_of(running.server).handshakes
    with running.dial():
        assert eventually(lambda: handshakes.pending)
        report = compat.drain(running.server, grace=0)
        assert report.duration < PATIENCE
        assert [one.phase for one in report.slowest] == ["handshake"]
        assert not handshakes.pending
        assert not handshakes.is_over
