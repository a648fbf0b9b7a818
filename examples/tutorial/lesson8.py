"""Lesson 8: threads that a nursery owns.

Question   A handler of socketserver blocks in a thread. Who can end it, and how?
Predict    Ada has sent half a line, Bob is idle. Write down what becomes of their threads, and when.
Run        python examples/tutorial/lesson8.py
Exercise   python -m examples.tutorial.check lesson8 mine.py
Course     session 4 of 4, about 40 minutes
"""

import socketserver
import threading
from functools import partial

import trio
from stage import Client, ask, connect, hear, picture

import triosock
from triosock import compat

serve = partial(triosock.serve_tcp, host="127.0.0.1", name="native")  # not for the world to see


errors = []  # the errors raised in handlers that were cut


def handler_of(socketserver):
    """Return the same class with the base of the standard library or of compat."""

    class Shout(socketserver.StreamRequestHandler):
        def handle(self):
            try:
                for line in self.rfile:
                    self.wfile.write(line.upper())
            except ConnectionAbortedError as error:
                errors.append(error)

    return Shout


def handler_threads():
    return sum("process_request" in one.name for one in threading.enumerate())


def with_the_stdlib():
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler_of(socketserver))
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    with Client(server.server_address) as ada, Client(server.server_address) as bob:
        ada.say(b"half a li")
        bob.ask(b"hello")
        server.shutdown()
        closing = threading.Thread(target=server.server_close)
        closing.start()
        closing.join(0.5)
        print("  half a second after the end, threads left:", handler_threads())
    closing.join()
    serving.join()


async def shout(conn):
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def with_compat(timeline):
    with triosock.DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            old = compat.ThreadingTCPServer(("127.0.0.1", 0), handler_of(compat))
            threads = await nursery.start(partial(compat.serve, old, name="threads", observers=[timeline]))
            native = await nursery.start(serve, shout, 0)
            ada, bob, cyd = [await connect(server) for server in (threads, threads, native)]
            await ada.send_all(b"half a li")
            await ask(bob, b"hello")
            await ask(cyd, b"hello")
            print("  handlers in threads:", handler_threads(), "- and in tasks:", native.statistics().active)
            scope.drain(grace=0.5)
            async with bob, cyd:
                print("  at once, Bob gets:", await hear(bob), "- and Cyd:", await hear(cyd))
            async with ada:
                print("  after the grace, Ada gets:", await hear(ada))
    print("  raised in the thread of Ada's handler:", *errors)
    for name, report in sorted(scope.reports):
        print(f"  {name}: {report.finished} finished, {report.cancelled} cut")
    print("  threads left:", handler_threads())


if __name__ == "__main__":
    print("socketserver.ThreadingTCPServer")
    with_the_stdlib()
    print("triosock.compat.ThreadingTCPServer, beside a native server in one nursery")
    with picture(__file__) as timeline:
        trio.run(with_compat, timeline)
