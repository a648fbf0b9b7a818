"""Lesson 2: a thread per connection, and who ends them.

Question   Ada is connected and says nothing. The server is closed. What becomes of Ada's thread?
Predict    Write down, for daemon_threads = True and = False: does server_close() return, and is Ada served?
Run        python examples/tutorial/lesson2.py
Exercise   python -m examples.tutorial.check lesson2 mine.py
Course     session 1 of 4, about 45 minutes
"""

import contextlib
import socketserver
import threading
from functools import partial

import trio
from stage import Client, ask, connect, hear, picture, refused

import triosock

serve = partial(triosock.serve_tcp, host="127.0.0.1", name="lesson 2")  # not for the world to see


class Shout(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class LeakingServer(socketserver.ThreadingTCPServer):
    daemon_threads = True  # close without waiting for the threads


class WaitingServer(socketserver.ThreadingTCPServer):
    daemon_threads = False  # the default: close, and wait for the threads


@contextlib.contextmanager
def one_client(kind):
    """Yield a server whose loop has ended, and Ada, who is connected and was served once."""
    server = kind(("127.0.0.1", 0), Shout)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    with Client(server.server_address) as ada:
        ada.ask(b"hello")
        server.shutdown()
        serving.join()
        yield server, ada


def a_leaked_thread():
    before = threading.active_count()
    with one_client(LeakingServer) as (server, ada):
        server.server_close()
        print("  server_close() has returned; threads left:", threading.active_count() - before)
        print("  the closed server still answers Ada:", ada.ask(b"are you there?"))
        handlers = [one for one in threading.enumerate() if "process_request" in one.name]
    for handler in handlers:
        handler.join()


def a_hanging_close():
    with one_client(WaitingServer) as (server, ada):
        closing = threading.Thread(target=server.server_close)
        closing.start()
        closing.join(0.5)
        print("  server_close() has returned:", not closing.is_alive())
        ada.sock.close()
        closing.join()
        print("  server_close() has returned after Ada has disconnected:", not closing.is_alive())


async def shout(conn):
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def with_triosock():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, shout, 0)
        ada = await connect(server)
        print("  Ada:", await ask(ada, b"hello"))
        nursery.cancel_scope.cancel()
    # Here the brackets are closed, although Ada is still connected.
    print("  the port is closed:", refused(server.addresses[0].port))
    print("  connections left:", server.statistics().active)
    async with ada:
        print("  Ada gets:", await hear(ada))


if __name__ == "__main__":
    print("ThreadingTCPServer, daemon_threads = True")
    a_leaked_thread()
    print("ThreadingTCPServer, daemon_threads = False")
    a_hanging_close()
    print("triosock.serve_tcp in a nursery that is cancelled")
    with picture(__file__):
        trio.run(with_triosock)
