"""`statistics(server)`: the counts of a server."""

from __future__ import annotations

from triosock import ServerStatistics

from ..bridge.tcp_state import is_idle
from ..requests.table import ENTRY, REQUEST, request_table_of
from ..stdlib.base import BaseServer
from .server_argument import check_server


def statistics(server: BaseServer) -> ServerStatistics:
    """Return the current counts of a server, as a frozen value like that of a native server. From any thread.

    Raises: TypeError if `server` is none of `triosock.compat`, such as one of the standard library.

    `received` and `sent` are the bytes of TCP connections that have ended; they are counted only if the
    server has observers. `queued` is always 0, and `suspended` False.
    """
    check_server(server, "statistics")
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
