"""Lesson 11: unchanged handlers as tasks.

Question   A handler waits in `recv`, in a thread that nobody can cancel. Must the handler be rewritten?
Predict    An exception is injected into Ada's thread while it waits. Write down when her `finally` runs.
Run        python examples/tutorial/lesson11.py
Exercise   python -m examples.tutorial.check lesson11 mine.py
Course     session 4 of 4, about 45 minutes, optional
"""

import contextlib
import ctypes
import io
import socketserver
import sys
import threading
import time
from functools import partial

import trio
from stage import Client, ask, connect, hear, picture

from triosock import compat

ended = []  # the exception in each `finally`, or None for a handler that returned


def shout_of(socketserver):
    """Return the same class with the base of the standard library or of compat."""

    class Shout(socketserver.StreamRequestHandler):
        def handle(self):
            try:
                for line in self.rfile:
                    self.wfile.write(line.upper())
            finally:
                ended.append(sys.exception())

    return Shout


def handler_threads():
    return [one for one in threading.enumerate() if "process_request" in one.name]


def with_the_stdlib():
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), shout_of(socketserver))
    server.daemon_threads = True  # server_close() would wait for Ada otherwise
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    with Client(server.server_address) as ada:
        print("  Ada says hello:", ada.ask(b"hello"))
        ada.say(b"half a li")
        server.shutdown()
        server.server_close()
        serving.join()
        (thread,) = handler_threads()
        thread.join(0.5)
        print("  half a second after the end, Ada's thread runs:", thread.is_alive())
        inject(thread, SystemExit)
        thread.join(0.5)
        print("  half a second after the exception, it runs:", thread.is_alive(), "- ended:", ended)
        ada.say(b"ne\n")
        thread.join()
        print("  Ada has sent the rest of her line; ended:", ended)


def inject(thread, exception):
    """Raise it in a thread, before the next line of Python that the thread runs."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(exception))


async def with_green(timeline):
    ended.clear()
    async with trio.open_nursery() as nursery:
        server = compat.GreenTCPServer(("127.0.0.1", 0), shout_of(compat))
        green = await nursery.start(partial(compat.serve, server, name="green", observers=[timeline]))
        async with await connect(green) as ada, await connect(green) as bob:
            await ada.send_all(b"half a li")
            print("  Bob says hello:", await ask(bob, b"hello"), "- threads:", len(handler_threads()))
            green.drain(grace=0.5)
            print("  at once, Bob gets:", await hear(bob), "- ended:", ended)
            print("  after the grace, Ada gets:", await hear(ada))
    print("  the server has ended; ended:", [how and type(how).__name__ for how in ended])


def query():
    time.sleep(1)  # as a sync database driver blocks
    return b"42\n"


def clerk_of(fetch):
    class Clerk(compat.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                if line == b"query\n":
                    self.wfile.write(b"one moment\n")
                    line = fetch()
                self.wfile.write(line)

    return Clerk


class ClerkServer(compat.GreenTCPServer):
    trio_policy = compat.Policy(blocking_after=0.1)


async def answers_in_order(fetch, timeline):
    server = ClerkServer(("127.0.0.1", 0), clerk_of(fetch))
    answers, errors = [], io.StringIO()

    async def expect(client):
        answers.append(await hear(client))

    with contextlib.redirect_stderr(errors):
        async with trio.open_nursery() as nursery:
            clerk = await nursery.start(partial(compat.serve, server, name="clerk", observers=[timeline]))
            async with await connect(clerk) as ada, await connect(clerk) as bob:
                await ask(ada, b"query")  # one moment
                async with trio.open_nursery() as waiting:
                    waiting.start_soon(expect, ada)
                    await bob.send_all(b"hello\n")
                    waiting.start_soon(expect, bob)
                clerk.drain()
                await hear(ada)  # the end
    print("  answered, in this order:", *answers)
    print("  reported on standard error:", errors.getvalue().partition(",")[0] or "nothing")


if __name__ == "__main__":
    print("socketserver.ThreadingTCPServer, and an exception injected into Ada's thread")
    with_the_stdlib()
    with picture(__file__) as timeline:
        print("triosock.compat.GreenTCPServer, the same handler")
        trio.run(with_green, timeline)
        print("a handler that calls query()")
        trio.run(answers_in_order, query, timeline)
        print("a handler that calls compat.blocking(query)")
        trio.run(answers_in_order, partial(compat.blocking, query), timeline)
