"""`statistics(server)`: what a server has counted."""

from __future__ import annotations

from triosock import ServerStatistics

from ..bridge.tcp_state import is_idle
from ..requests.table import ENTRY, REQUEST, request_table_of
from ..stdlib.base import BaseServer


def statistics(server: BaseServer) -> ServerStatistics:
    """Return a frozen snapshot of a server, from any thread: the same as a native server's.

    `received` and `sent` are bytes of TCP connections that have ended, and are counted only for observers.
    """
    request_table = request_table_of(server)
    tally = request_table.tally()
    with request_table.lock:
        live = tuple(request_table.live.values())
        ended, refused = dict(tally.ended), dict(tally.refused)
    requests = [record[REQUEST] for record in live]
    return ServerStatistics(
        active=len(requests),
        idle=sum(map(is_idle, requests)),
        queued=0,
        peak=tally.peak,
        accepted=tally.accepted + sum(record[ENTRY] is None for record in live),
        ended=ended,
        refused=refused,
        accept_errors=tally.accept_errors,
        received=tally.received,
        sent=tally.sent,
        suspended=False,
        draining=request_table.drain is not None,
    )
