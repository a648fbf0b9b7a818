"""Detect peers that vanish: TCP keepalive, per connection."""

import socket


def keep_alive(conn, idle=60, interval=15, count=4):
    """After `idle` quiet seconds ask `count` times; who does not answer is gone (tcp(7))."""
    sock = conn.transport
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)


async def shout(conn):
    keep_alive(conn)
    async for line in conn.lines():
        await conn.send_all(line.upper())
