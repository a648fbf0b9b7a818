"""Lesson 1: one connection at a time.

Question   Ada connects and says nothing. Bob connects after her and says hello. When is Bob answered?
Predict    Write down what Bob gets from socketserver.TCPServer, and what from triosock.serve_tcp.
Run        python examples/tutorial/lesson1.py
Exercise   python -m examples.tutorial.check lesson1 mine.py
Course     session 1 of 4, about 40 minutes
"""

import socketserver
import threading
from functools import partial

import trio
from stage import Client, ask, connect, hear, picture

import triosock

serve = partial(triosock.serve_tcp, host="127.0.0.1", name="lesson 1")  # not for the world to see


class Shout(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


def with_the_stdlib():
    server = socketserver.TCPServer(("127.0.0.1", 0), Shout)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    with Client(server.server_address) as ada, Client(server.server_address) as bob:
        print("  Bob says hello while Ada says nothing:", bob.ask(b"hello", patience=0.5))
        # The loop that checks for the shutdown is in Ada's handler, too.
        closing = threading.Thread(target=server.shutdown)
        closing.start()
        closing.join(0.5)
        print("  shutdown() has returned:", not closing.is_alive())
        ada.sock.close()
        closing.join()
        print("  shutdown() has returned after Ada has disconnected:", not closing.is_alive())
        serving.join()
        server.server_close()
        print("  Bob, who has waited for an answer, gets:", bob.hear())


async def shout(conn):
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def with_triosock():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, shout, 0)
        async with await connect(server) as ada, await connect(server) as bob:
            print("  Bob says hello while Ada says nothing:", await ask(bob, b"hello"))
            print("  connections being served:", server.statistics().active)
            print("  Ada says something now:", await ask(ada, b"me too"))
            server.drain()
            print("  the server drains; Ada gets:", await hear(ada), "- and Bob:", await hear(bob))
        print(" ", await server.wait_closed())


if __name__ == "__main__":
    print("socketserver.TCPServer")
    with_the_stdlib()
    print("triosock.serve_tcp")
    with picture(__file__):
        trio.run(with_triosock)
