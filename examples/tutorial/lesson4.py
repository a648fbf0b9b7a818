"""Lesson 4: timeouts as scopes.

Question   A login has one second. Ada sends a letter every tenth of a second, and never ends the line.
Predict    Write down when each of the two servers gives up, and why.
Run        python examples/tutorial/lesson4.py
Exercise   python -m examples.tutorial.check lesson4 mine.py
Course     session 2 of 4, about 40 minutes
"""

import socketserver
import threading
import time
from functools import partial

import trio
from stage import NOTHING, Client, connect, hear, picture

import triosock

serve = partial(triosock.serve_tcp, host="127.0.0.1", name="lesson 4")  # not for the world to see

LETTERS = 15  # one every tenth of a second, so more than a second in all


class Login(socketserver.StreamRequestHandler):
    timeout = 1.0  # of each recv()

    def handle(self):
        try:
            name = self.rfile.readline()
        except TimeoutError:
            self.wfile.write(b"too slow\n")
        else:
            self.wfile.write(b"hello " + name)


def with_the_stdlib():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Login) as server:
        threading.Thread(target=server.serve_forever).start()
        with Client(server.server_address) as ada:
            for _ in range(LETTERS):
                ada.say(b"a")
                time.sleep(0.1)
            print("  Ada, after a second and a half of letters:", ada.hear(patience=0.01))
            print("  Ada ends the line:", ada.ask(b"!"))
        server.shutdown()


async def read_name(conn):
    """Read a name. It has no timeout: its caller sets a deadline for the whole."""
    return await conn.receive_until(b"\n")


async def login(conn):
    try:
        async with conn.request(timeout=1.0):
            name = await read_name(conn)
    except triosock.RequestTimedOut:
        await conn.send_all(b"too slow\n")
    else:
        await conn.send_all(b"hello " + name)


async def drip(client):
    """Send the letters; return the number sent before the answer, and the answer."""
    for number in range(1, LETTERS + 1):
        await client.send_all(b"a")
        answer = await hear(client, patience=0.1)
        if answer != NOTHING:
            return number, answer
    return LETTERS, NOTHING


async def with_triosock():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, login, 0)
        async with await connect(server) as ada:
            number, answer = await drip(ada)
            print(f"  Ada, before she could send all {LETTERS} letters:", answer, "-", number < LETTERS)
        # The earliest deadline wins: half a second around a login that has one second.
        with trio.move_on_after(0.5) as half_a_second:
            async with await connect(server) as bob:
                await drip(bob)
        print("  Bob was cancelled by the outer scope of half a second:", half_a_second.cancelled_caught)
        server.drain()


if __name__ == "__main__":
    print("socketserver, timeout = 1.0")
    with_the_stdlib()
    print("triosock, conn.request(timeout=1.0)")
    with picture(__file__):
        trio.run(with_triosock)
