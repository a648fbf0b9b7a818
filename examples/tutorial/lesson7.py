"""Lesson 7: draining is not cancelling.

Question   A server ends while one client waits for its answer, one is idle, and one has just connected.
Predict    Write down what each of the three gets, for each of the three ways to end a server below.
Run        python examples/tutorial/lesson7.py
Exercise   python -m examples.tutorial.check lesson7 mine.py
Course     session 3 of 4, about 35 minutes
"""

import contextlib
import signal
import socketserver
import subprocess
import sys
import threading
import time
from functools import partial

import trio
from stage import Client, ask, connect, hear, picture

import triosock

serve = partial(triosock.serve_tcp, host="127.0.0.1", name="lesson 7")  # not for the world to see

WORK = 1.0  # seconds


class Worker(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            if line == b"work\n":
                self.wfile.write(b"working\n")
                time.sleep(WORK)
            self.wfile.write(line.upper())


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True  # with False, the idle client would prevent the end of this program: lesson 2


def stdlib_program():
    """Run in a separate process: a server that SIGTERM ends."""
    server = Server(("127.0.0.1", 0), Worker)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(server.server_address[1], flush=True)
    server.serve_forever()
    print("no more is accepted", flush=True)
    sys.stdin.readline()  # meanwhile a client connects
    server.server_close()


def with_the_stdlib():
    command = [sys.executable, __file__, "the stdlib program"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        address = ("127.0.0.1", int(program.stdout.readline()))
        with contextlib.ExitStack() as clients:
            busy, idle = (clients.enter_context(Client(address)) for _ in range(2))
            busy.ask(b"work")
            idle.ask(b"hello")
            program.send_signal(signal.SIGTERM)
            program.stdout.readline()
            late = clients.enter_context(Client(address))
            late.say(b"hello\n")
            program.communicate("\n")
            print_ends(busy.hear(), idle.hear(), late.hear())


async def work(conn):
    async for line in conn.lines():
        if line == b"work\n":
            await conn.send_all(b"working\n")
            await trio.sleep(WORK)
        await conn.send_all(line.upper())


async def with_triosock(how):
    heard = {}
    async with trio.open_nursery() as clients, trio.open_nursery() as servers:
        server = await servers.start(partial(serve, work, 0, name=how))
        busy, idle = await connect(server), await connect(server)
        await ask(busy, b"work")
        await ask(idle, b"hello")
        server.suspend()  # stop accepting: a new connection waits in the kernel's accept queue
        late = await connect(server)
        await late.send_all(b"hello\n")
        for name, client in {"busy": busy, "idle": idle, "late": late}.items():
            clients.start_soon(listen, client, name, heard)
        if how == "drained":
            server.drain(grace=10)
        else:
            servers.cancel_scope.cancel()
    print_ends(**heard)
    print(" ", await server.wait_closed())


async def listen(client, name, heard):
    async with client:
        heard[name] = await hear(client)


def print_ends(busy, idle, late):
    print("  the client that waits for an answer gets:", busy)
    print("  the client that is idle gets:            ", idle)
    print("  the client that has just connected gets: ", late)


if __name__ == "__main__":
    if sys.argv[1:] == ["the stdlib program"]:
        stdlib_program()
        sys.exit()
    print("the stdlib: shutdown(), server_close(), and the end of the process")
    with_the_stdlib()
    with picture(__file__):
        print("triosock: cancelled")
        trio.run(with_triosock, "cancelled")
        print("triosock: drained")
        trio.run(with_triosock, "drained")
