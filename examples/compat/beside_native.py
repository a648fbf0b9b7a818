"""A server of each kind in one nursery, and one drain for both."""

import trio

import triosock
from triosock import compat


class Shout(compat.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


async def whisper(conn: triosock.Connection) -> None:
    async for line in conn.lines():
        await conn.send_all(line.lower())


async def ask(address: triosock.TcpAddress, line: bytes) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", address.port) as stream:
        await stream.send_all(line)
        return bytes(await stream.receive_some())


async def main() -> None:
    with triosock.DrainScope(grace=5) as scope:
        async with trio.open_nursery() as nursery:
            old = compat.ThreadingTCPServer(("127.0.0.1", 0), Shout)
            shouting = await nursery.start(compat.serve, old)
            whispering = await nursery.start(triosock.serve_tcp, whisper, 0)
            print(
                await ask(shouting.addresses[0], b"Hello\n"), await ask(whispering.addresses[0], b"Hello\n")
            )
            scope.drain()
    for name, report in scope.reports:
        print(name.partition(":")[0], "drained, clean:", report.clean)


trio.run(main)
