"""Lesson 6: limits and backpressure.

Question   Twenty clients connect at once. Another one requests a long list and does not read it.
Predict    Write down how many are served at a time, and where the list is while nobody reads it.
Run        python examples/tutorial/lesson6.py
Exercise   python -m examples.tutorial.check lesson6 mine.py
Course     session 3 of 4, about 25 minutes
"""

import contextlib
import queue
import socketserver
import threading
import time
from functools import partial

import trio
from stage import Client, ask, connect, picture

import triosock
from triosock.events import ConnectionClosed
from triosock.testing import Recorder

CLIENTS = 20
WORK = 0.1  # seconds for an answer
LINE = b"%099d\n"
LINES = 200_000  # 20 MB, more than the kernel holds for one connection


class Feed(socketserver.StreamRequestHandler):
    """Echoes lines, except "list": then a writer thread sends a long list."""

    outboxes = queue.Queue()

    def handle(self):
        with contextlib.suppress(OSError):  # the client may disconnect before it has the list
            self.answer()

    def answer(self):
        for line in self.rfile:
            if line != b"list\n":
                time.sleep(WORK)
                self.wfile.write(line)
                continue
            outbox = queue.Queue()  # no bound: put() never waits
            threading.Thread(target=self.write, args=(outbox,)).start()
            for number in range(LINES):
                outbox.put(LINE % number)
            outbox.put(None)
            Feed.outboxes.put(outbox)

    def write(self, outbox):
        with contextlib.suppress(OSError):
            while (line := outbox.get()) is not None:
                self.wfile.write(line)


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 128


def with_the_stdlib():
    before = threading.active_count() + 1  # the loop's own thread
    with Server(("127.0.0.1", 0), Feed) as server, contextlib.ExitStack() as stack:
        threading.Thread(target=server.serve_forever).start()
        clients = [stack.enter_context(Client(server.server_address)) for _ in range(CLIENTS)]
        for client in clients:
            client.say(b"hello\n")
        for client in clients:
            client.hear()
        print(f"  threads for {CLIENTS} clients:", threading.active_count() - before)
        clients[0].say(b"list\n")
        outbox = Feed.outboxes.get()
        print("  the whole list is produced; most of it waits in memory:", outbox.qsize() > LINES / 2)
        stack.close()
        server.shutdown()


async def feed(conn):
    async for line in conn.lines():
        if line != b"list\n":
            await trio.sleep(WORK)
            await conn.send_all(line)
            continue
        for number in range(LINES):
            await conn.send_all(LINE % number)  # waits for the client: this is backpressure


async def client(server, answers):
    async with await connect(server) as conn:
        answers.append(await ask(conn, b"hello"))


async def with_triosock():
    recorder = Recorder()
    limits, timeouts = triosock.Limits(max_connections=5), triosock.Timeouts(send=0.5)
    options = {
        "limits": limits,
        "timeouts": timeouts,
        "observers": [recorder],
        "host": "127.0.0.1",
        "name": "lesson 6",
    }
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(triosock.serve_tcp, feed, 0, **options))
        answers = []
        async with trio.open_nursery() as clients:
            for _ in range(CLIENTS):
                clients.start_soon(client, server, answers)
        print(f"  tasks for {CLIENTS} clients:", server.statistics().peak, "at a time")
        print("  answered:", len(answers))
        async with await connect(server) as ada:
            await ada.send_all(b"list\n")
            end = await recorder.wait_for(ConnectionClosed, CLIENTS + 1)
        print("  the whole list was produced:", end.sent == LINES * len(LINE % 0))
        print("  its client was cut by the timeout:", end.cause)
        server.drain()


if __name__ == "__main__":
    print("a thread per client, and an unbounded queue")
    with_the_stdlib()
    print("Limits(max_connections=5), Timeouts(send=0.5)")
    with picture(__file__):
        trio.run(with_triosock)
