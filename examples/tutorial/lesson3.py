"""Lesson 3: a nursery per server.

Question   A program starts two servers. The second one cannot start: its port is taken. What runs afterwards?
Predict    Write down which servers still answer after the error, with threads and with a nursery.
Run        python examples/tutorial/lesson3.py
Exercise   python -m examples.tutorial.check lesson3 mine.py
Course     session 2 of 4, about 45 minutes
"""

import os
import socket
import socketserver
import threading
from functools import partial

import trio
from stage import Client, ask, connect, hear, picture, refused

import triosock

serve = partial(triosock.serve_tcp, host="127.0.0.1", name="lesson 3")  # not for the world to see


class Shout(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


def start(port, started):
    server = socketserver.ThreadingTCPServer(("127.0.0.1", port), Shout)
    started.append(server)  # only to clean up at the end of the lesson; a real program has no such list
    threading.Thread(target=server.serve_forever).start()


def with_the_stdlib(taken):
    started = []
    try:
        start(0, started)
        start(taken, started)
    except OSError as error:
        print("  the program has failed:", error.strerror)
    with Client(started[0].server_address) as ada:
        print("  Ada, who connects afterwards, is served:", ada.ask(b"is anybody there?"))
    loops = [one for one in threading.enumerate() if "serve_forever" in one.name]
    print("  threads left that will serve for ever:", len(loops))
    for server in started:
        server.shutdown()
        server.server_close()


async def shout(conn):
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def two_servers(taken, clients):
    async with trio.open_nursery() as nursery:
        first = await nursery.start(serve, shout, 0)
        clients.append(await connect(first))
        print("  Ada, who connects in between, is served:", await ask(clients[0], b"hello"))
        await nursery.start(serve, shout, taken)


async def with_triosock(taken):
    clients = []
    before = trio.lowlevel.current_statistics().tasks_living
    try:
        await two_servers(taken, clients)
    except Exception as group:  # a nursery raises a group, as several tasks may fail at once
        (error,) = group.exceptions
        print("  the program has failed:", os.strerror(error.errno))
    async with clients[0] as ada:
        port = ada.transport.socket.getpeername()[1]
        print("  the first server's port is closed:", refused(port))
        print("  Ada gets:", await hear(ada))
    print("  tasks left:", trio.lowlevel.current_statistics().tasks_living - before)


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as somebody_else:
        taken = somebody_else.getsockname()[1]
        print("two servers in threads")
        with_the_stdlib(taken)
        print("two servers in a nursery")
        with picture(__file__):
            trio.run(with_triosock, taken)
