"""Rates of connections, requests and datagrams, and an answer for clients beyond them."""

import triosock
from triosock import Limits, Rate


async def say_when(error, conn):
    """Given as `on_error`: answer a connection that asks too often, before it ends."""
    if isinstance(error, triosock.RateExceeded):
        await conn.send_all(b"too fast, ask again in %.1f s\n" % error.retry_after)


OPTIONS = {
    "limits": Limits(
        rate_per_peer=Rate(20, per=1, burst=40),  # connections
        rate_per_network=Rate(200, per=1),
        request_rate_per_peer=Rate(600, per=60, burst=20),  # turns of lines() and frames(), request() blocks
        request_overflow="reject",  # "wait" is the default
    ),
    "on_error": say_when,
}

DATAGRAM_LIMITS = Limits(datagram_rate_per_peer=Rate(50, burst=100), datagram_rate=Rate(20_000))
