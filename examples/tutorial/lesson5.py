"""Lesson 5: a failure in one of many.

Question   A handler has several helpers at work on one answer. One of them fails. Who gets the error?
Predict    Write down what Ada gets, and what Bob gets on another connection, with threads and with nurseries.
Run        python examples/tutorial/lesson5.py
Exercise   python -m examples.tutorial.check lesson5 mine.py
Course     session 3 of 4, about 30 minutes
"""

import logging
import queue
import socketserver
import threading
from functools import partial

import trio
from stage import Client, ask, connect, picture

import triosock

serve = partial(triosock.serve_tcp, host="127.0.0.1", name="lesson 5")  # not for the world to see

PRICES = {b"tea": 2, b"cake": 3}


class Till(socketserver.StreamRequestHandler):
    """Adds up prices; a helper looks up each of them."""

    def handle(self):
        for line in self.rfile:
            found = queue.Queue()
            for item in line.split():
                threading.Thread(target=self.look_up, args=(item, found), daemon=True).start()
            self.wfile.write(b"%d\n" % sum(found.get() for _ in line.split()))

    def look_up(self, item, found):
        found.put(PRICES[item])


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


def with_the_stdlib():
    threading.excepthook = lambda args: print("  a thread has failed:", repr(args.exc_value))
    with Server(("127.0.0.1", 0), Till) as server:
        threading.Thread(target=server.serve_forever).start()
        with Client(server.server_address) as ada, Client(server.server_address) as bob:
            print("  Ada asks for tea and cake:", ada.ask(b"tea cake"))
            print("  Ada asks for tea and gold:", ada.ask(b"tea gold", patience=0.5))
            print("  Bob asks for tea:", bob.ask(b"tea"))
        server.shutdown()
    # Ada has disconnected, and the server is closed. Her handler waits for a helper that has ended.
    left = [one for one in threading.enumerate() if "process_request" in one.name]
    for thread in left:
        thread.join(0.5)
    print("  threads left:", sum(thread.is_alive() for thread in left))


async def look_up(item, found):
    await trio.lowlevel.checkpoint()
    found.append(PRICES[item])


async def till(conn):
    async for line in conn.lines():
        found = []
        async with trio.open_nursery() as helpers:
            for item in line.split():
                helpers.start_soon(look_up, item, found)
        await conn.send_all(b"%d\n" % sum(found))


async def with_triosock():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, till, 0)
        async with await connect(server) as ada, await connect(server) as bob:
            print("  Ada asks for tea and cake:", await ask(ada, b"tea cake"))
            print("  Ada asks for tea and gold:", await ask(ada, b"tea gold"))
            print("  Bob asks for tea:", await ask(bob, b"tea"))
            server.drain()
    print(" ", {str(cause): count for cause, count in server.statistics().ended.items()})


class OneLine(logging.Handler):
    """Prints the level of a log record and its error, without the traceback."""

    def emit(self, record):
        (error,) = record.exc_info[1].exceptions  # of the helpers' nursery
        print(f"  {record.levelname.lower()} in the log:", repr(error))


if __name__ == "__main__":
    logging.getLogger("triosock").addHandler(OneLine(logging.ERROR))
    print("helpers in threads")
    with_the_stdlib()
    print("helpers in a nursery")
    with picture(__file__):
        trio.run(with_triosock)
