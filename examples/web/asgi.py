"""An ASGI application on triosock and the protocol classes of hypercorn. hypercorn does HTTP/1.1, HTTP/2 and
WebSocket; triosock does the port, TLS, the PROXY protocol, limits, timeouts and the drain.

A drain ends connections that wait for a request, lets each request in progress finish, and then closes its
connection. `/ready` of the health port returns 503 as soon as the drain is announced, so that a load
balancer uses another server; for two more seconds (`delay`) new requests are accepted.

    python examples/web/asgi.py
    curl http://localhost:9999/who http://localhost:8081/ready
    curl --http2-prior-knowledge http://localhost:9999/slow
"""

import contextlib
import logging
import sys
from functools import partial

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

import triosock


class Draining:
    """Replaces the event by which hypercorn learns that its worker ends."""

    def __init__(self, conn):
        self._conn = conn

    def is_set(self):
        return self._conn.draining

    async def wait(self):
        await triosock.wait_draining()


class HttpConnection:
    """One connection: passes received data to hypercorn's protocol, and sends its output."""

    def __init__(self, conn, app, config, state):
        self._conn = conn
        self._app, self._config, self._state = app, config, state
        self._sending = trio.Lock()
        self._reading = trio.CancelScope()
        self._idle = True
        self._over = False

    async def run(self):
        conn, context = self._conn, WorkerContext(None)
        context.terminated = Draining(conn)
        alpn = conn.tls.alpn if conn.tls else None
        async with TaskGroup() as group:
            protocol = ProtocolWrapper(
                *(self._app, self._config, context, group, ConnectionState(self._state.copy())),
                *(conn.tls is not None, host_port(conn.peer), host_port(conn.local), self._send, alpn),
            )
            await protocol.initiate()
            while (data := await self._receive()) is not None:
                await protocol.handle(RawData(data))
                # HTTP/2 has frames that do not belong to a request.
                self._idle = self._idle or getattr(protocol.protocol, "idle", False)
            await protocol.handle(Closed())

    async def _receive(self):
        """Return the next bytes; None at the end of the stream, or in a drain while no request is in
        progress.
        """
        while not self._over:
            if self._idle:
                if not await self._conn.wait_request():
                    return None
                self._idle = False
            with trio.CancelScope() as self._reading:
                try:
                    return bytes(await self._conn.receive_some()) or None
                except trio.BrokenResourceError:
                    return None  # the application gets http.disconnect
            # Cancelled: the last request is over, and the connection is idle. A cancelled read loses nothing.
        return None

    async def _send(self, event):
        if isinstance(event, RawData):
            async with self._sending:
                # The application gets http.disconnect for a client that has disconnected.
                with contextlib.suppress(trio.BrokenResourceError):
                    await self._conn.send_all(event.data)
        elif isinstance(event, Updated):
            self._idle = event.idle
            if event.idle:
                self._reading.cancel()
        elif isinstance(event, Closed):
            self._over = True
            self._reading.cancel()


def host_port(address):
    return (address.host, address.port) if isinstance(address, triosock.TcpAddress) else None


async def serve_asgi(app, *args, task_status=trio.TASK_STATUS_IGNORED, **options):
    """Serve an ASGI application within its lifespan, with the arguments of `triosock.serve_tcp`."""
    wrapped, config, state = ASGIWrapper(app), Config(), {}
    lifespan = Lifespan(wrapped, config, state)

    async def handle(conn):
        await HttpConnection(conn, wrapped, config, state).run()

    async with trio.open_nursery() as nursery:
        await nursery.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        serve = partial(triosock.serve_tcp, handle, *args, task_status=task_status, **options)
        report = await serve()
        await lifespan.wait_for_shutdown()
        nursery.cancel_scope.cancel()
    return report


async def app(scope, receive, send):
    """An ASGI application on trio."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    assert scope["type"] == "http"
    text = f"{scope['path']} for {scope['client'][0]} by HTTP/{scope['http_version']}\n"
    if scope["path"] == "/slow":
        await trio.sleep(1)
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


async def main(port, health_port):
    async with triosock.open_health(f"tcp://localhost:{health_port}"):
        await serve_asgi(app, port, host="localhost", name="web")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    ports = [int(word) for word in sys.argv[1:]] or [9999, 8081]
    triosock.run(main, *ports, delay=2)
