"""What type checkers say about datagrams; see serving.py."""

from __future__ import annotations

from typing import assert_type

import trio

import triosock
from triosock import Datagram, DatagramServer, DrainReport, Session


async def answer(datagram: Datagram) -> None:
    assert_type(datagram.data, bytes)
    assert_type(datagram.peer, triosock.Address)
    assert_type(datagram.truncated, bool)
    await datagram.reply(b"")
    await datagram.reply("text")  # type: ignore[arg-type]


async def converse(session: Session) -> None:
    assert_type(session.peer, triosock.Address)
    async for data in session:
        assert_type(data, bytes)
        await session.send(data)


def knowing(datagram: Datagram, session: triosock.Session) -> None:
    assert_type(datagram.server.statistics(), triosock.DatagramStatistics)
    assert_type(session.server.statistics(), triosock.DatagramStatistics)
    assert_type(session.server.limits, triosock.Limits)


async def of_a_connection(conn: triosock.Connection) -> None: ...


def plain(datagram: Datagram) -> None: ...


async def serving() -> None:
    assert_type(await triosock.serve_udp(answer, 0), DrainReport)
    assert_type(await triosock.serve_udp(converse, 0, sessions=triosock.Sessions()), DrainReport)
    assert_type(await triosock.serve_unix_datagram(answer, "/run/app.sock"), DrainReport)
    await triosock.serve_udp(plain, 0)  # type: ignore[arg-type]
    await triosock.serve_udp(of_a_connection, 0)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        server: DatagramServer = await nursery.start(triosock.serve_udp, answer, 0)
        assert_type(server.statistics(), triosock.DatagramStatistics)
        assert_type(await server.wait_closed(), DrainReport)


class Derived(DatagramServer): ...  # type: ignore[misc]  # it is final
