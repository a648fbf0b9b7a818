"""The handlers: HTTP/1.1 with keep-alive on h11, and lines. Each answer names its request."""

from __future__ import annotations

import contextlib

import h11

import triosock


async def serve_http(conn: triosock.Connection) -> None:
    """Answer with the request's own target. An answer in a drain says that no other will follow."""
    http = h11.Connection(h11.SERVER)
    while http.our_state is h11.IDLE:
        if not http.trailing_data[0]:
            data = b""
            with conn.idle():
                data = await conn.receive_some()
            if not data:
                return
            http.receive_data(data)
        async with conn.request():
            with contextlib.suppress(h11.RemoteProtocolError):
                target = await _next_request(conn, http)
                headers = [("Content-Length", str(len(target)))] + [("Connection", "close")] * conn.draining
                events = (
                    h11.Response(status_code=200, headers=headers),
                    h11.Data(data=target),
                    h11.EndOfMessage(),
                )
                await conn.send_all(b"".join(map(http.send, events)))
        if http.our_state is http.their_state is h11.DONE:
            http.start_next_cycle()


async def _next_request(conn: triosock.Connection, http: h11.Connection) -> bytes:
    target = b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await conn.receive_some())
        elif isinstance(event, h11.Request):
            target = event.target
        elif isinstance(event, h11.EndOfMessage):
            return target


async def serve_lines(conn: triosock.Connection) -> None:
    """Send each line back."""
    async for line in conn.lines():
        await conn.send_all(line)
