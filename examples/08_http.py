"""An HTTP/1.1 server with keep-alive, on h11, which implements HTTP without sockets.

`conn.wait_request()` waits between two requests: only there does a drain or the idle timeout end a
connection. `conn.request()` marks a request in progress, with a deadline; a drain waits for it, and its
answer then says `Connection: close`.

    python examples/08_http.py
    curl http://localhost:9999/one http://localhost:9999/two      one connection for both
"""

import logging
import sys

import h11

import triosock


async def next_event(conn, http):
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await conn.receive_some())
    return event


async def serve_http(conn):
    http = h11.Connection(h11.SERVER)
    while http.our_state is h11.IDLE:
        # Unless the next request has arrived with the last one.
        if not http.trailing_data[0] and not await conn.wait_request():
            return  # the client has hung up, or the server drains
        async with conn.request(timeout=10):
            try:
                request = await next_event(conn, http)
                while isinstance(await next_event(conn, http), h11.Data):
                    pass  # discard the body
                code, text = 200, b"" if request.method == b"HEAD" else b"you asked for " + request.target
            except h11.RemoteProtocolError as error:
                code, text = error.error_status_hint, b"that is no HTTP"
            headers = [("Content-Length", str(len(text)))] + [("Connection", "close")] * conn.draining
            events = h11.Response(status_code=code, headers=headers), h11.Data(data=text), h11.EndOfMessage()
            await conn.send_all(b"".join(map(http.send, events)))
        if http.our_state is http.their_state is h11.DONE:
            http.start_next_cycle()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    triosock.run(triosock.serve_tcp, serve_http, port, host="localhost", name="http")
