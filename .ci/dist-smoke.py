"""A first use of the installed package: a native server, a compat server, and the marker that it is typed."""

import importlib.metadata
import importlib.resources
import socket
import sys
import threading

import trio

import triosock
from triosock import compat


async def shout(conn: triosock.Connection) -> None:
    """Answer each line in capitals."""
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def native() -> None:
    """Serve, ask, drain; nothing is cut."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: triosock.serve_tcp(shout, 0, host="127.0.0.1", task_status=task_status)
        )
        async with await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port) as client:
            await client.send_all(b"hello\n")
            assert await client.receive_some() == b"HELLO\n"
            server.drain()
            assert await client.receive_some() == b""
        report = await server.wait_closed()
    assert (report.finished, report.cancelled, report.failed) == (1, 0, 0), report


class Reverse(compat.StreamRequestHandler):
    """Answers a line backwards."""

    def handle(self) -> None:
        """Take one line."""
        self.wfile.write(self.rfile.readline().strip()[::-1])


def stdlib_style() -> None:
    """Serve in a thread, ask, shut down."""
    with compat.ThreadingTCPServer(("127.0.0.1", 0), Reverse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with socket.create_connection(server.server_address) as client:
            client.sendall(b"abc\n")
            assert client.recv(10) == b"cba"
        server.shutdown()
        thread.join()


assert "site-packages" in triosock.__file__, triosock.__file__
assert importlib.resources.files("triosock").joinpath("py.typed").is_file()
assert triosock.__version__ == importlib.metadata.version("triosock")
trio.run(native)
stdlib_style()
print(f"triosock {triosock.__version__} works on Python {sys.version.split()[0]}")
