"""Datagrams whose sender cannot be answered, by its own doing: the server says so once, at no alarming level,
and neither `on_error` nor a traceback follows.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import triosock
from tests.datagrams.serving import shout
from tests.servers import running
from triosock import Cause, events
from triosock.testing import Recorder

failed: list[Exception] = []


async def note(error: Exception, datagram: object) -> None:
    failed.append(error)


@contextlib.asynccontextmanager
async def serving(
    serve: Any, *args: Any, caplog: pytest.LogCaptureFixture, **options: Any
) -> AsyncIterator[triosock.DatagramServer]:
    """Serve; the one datagram that is sent in the block is its sender's fault."""
    failed.clear()
    recorder = Recorder(events.RequestFinished)
    caplog.set_level(logging.DEBUG, "triosock")
    async with running(serve, shout, *args, on_error=note, observers=[recorder], **options) as server:
        yield server
        with trio.fail_after(10):
            handled = await recorder.wait_for(events.RequestFinished)
        assert handled.cause is Cause.PEER
        assert server.statistics().ended == {Cause.PEER: 1}
    assert failed == []
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING or one.exc_info]


# Over UDP


def raw_socket(family: int, protocol: int) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_RAW, protocol)
    except PermissionError:
        pytest.skip("only root may send from port 0 and from strangers' addresses (CAP_NET_RAW)")


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def send_from_nobody(source_port: int, port: int) -> None:
    """Send "hi" to [::1] from the unspecified address."""
    source, destination, length = bytes(16), bytes(15) + b"\x01", 10
    udp = struct.pack("!HHHH", source_port, port, length, 0) + b"hi"
    total = checksum(source + destination + struct.pack("!IHBB", length, 0, 0, 17) + udp)
    udp = udp[:6] + struct.pack("!H", total) + udp[8:]
    header = struct.pack("!IHBB", 6 << 28, length, 17, 64) + source + destination
    with raw_socket(socket.AF_INET6, socket.IPPROTO_RAW) as raw:
        raw.sendto(header + udp, ("::1", 0))


async def test_a_datagram_from_port_0_cannot_be_answered(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(triosock.serve_udp, 0, host="127.0.0.1", caplog=caplog) as server:
        with raw_socket(socket.AF_INET, socket.IPPROTO_UDP) as raw:
            port = server.addresses[0].port  # type: ignore[union-attr]
            raw.sendto(struct.pack("!HHHH", 0, port, 10, 0) + b"hi", ("127.0.0.1", 0))


async def test_a_reply_to_the_unspecified_address_does_not_reach_this_machine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as local_service:
        local_service.bind(("::1", 0))
        local_service.setblocking(False)
        async with serving(triosock.serve_udp, 0, host="::1", caplog=caplog) as server:
            port = server.addresses[0].port  # type: ignore[union-attr]
            send_from_nobody(local_service.getsockname()[1], port)
        with pytest.raises(BlockingIOError):
            local_service.recv(10)


# Over Unix sockets: what became of the sender's path


def another_kind(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(os.fspath(path))


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def below_a_file(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()
    path.parent.touch()


def plain_file(path: Path) -> None:
    path.unlink()
    path.touch()


@pytest.mark.parametrize("become", [another_kind, loop, below_a_file, plain_file, Path.unlink])
async def test_a_unix_path_that_leads_to_no_such_socket(
    become: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "folder" / "client"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.bind(os.fspath(path))
        async with serving(triosock.serve_unix_datagram, tmp_path / "server", caplog=caplog):
            client.sendto(b"hi", os.fspath(tmp_path / "server"))
            become(path)  # before the server's turn: nothing is awaited in between
