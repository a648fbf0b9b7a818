"""Lesson 9: the one run in a thousand that fails.

Question   One ticket is left, and a test with sleeps has passed a thousand times. Can it be sold twice?
Predict    Look at `sell`. Write down an order of events in which two buyers get it, or why there is none.
Run        python examples/tutorial/lesson9.py
Exercise   python -m examples.tutorial.check lesson9 mine.py
Course     session 4 of 4, about 45 minutes
"""

import socketserver
import threading
import time

import trio
from stage import Client, picture

from triosock.testing.simulation import Faults, SimulationFailed, simulate

TIMES = 1_000
WRITING = 0.001  # seconds that it takes to write a name down


class SellInThread(socketserver.StreamRequestHandler):
    def handle(self):
        for _name in self.rfile:
            if self.server.left:
                time.sleep(WRITING)
                self.server.left -= 1
                self.wfile.write(b"sold\n")
            else:
                self.wfile.write(b"sold out\n")


def test_with_sleeps(server):
    server.left = 1
    with Client(server.server_address) as ada, Client(server.server_address) as bob:
        assert ada.ask(b"ada") == "sold"
        time.sleep(0.001)  # so that her request is finished
        assert bob.ask(b"bob") == "sold out"


def with_the_stdlib():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), SellInThread) as server:
        serving = threading.Thread(target=server.serve_forever, args=[0.01])
        serving.start()
        for _ in range(TIMES):
            test_with_sleeps(server)
        server.shutdown()
        serving.join()
    print("  the test has passed, times:", TIMES)


class Office:
    def __init__(self):
        self.left = 1

    async def sell(self, conn):
        async for _name in conn.lines():
            if self.left:
                await trio.sleep(WRITING)
                self.left -= 1
                await conn.send_all(b"sold\n")
            else:
                await conn.send_all(b"sold out\n")


class FixedOffice(Office):
    async def sell(self, conn):
        async for _name in conn.lines():
            if self.left:
                self.left -= 1  # checks and takes: no other task can run in between
                await trio.sleep(WRITING)
                await conn.send_all(b"sold\n")
            else:
                await conn.send_all(b"sold out\n")


SLOW = Faults(latency=0.25)  # seconds, at most, for each connection


def two_buyers_at(office_class):
    async def two_buyers(world):
        server = await world.serve(office_class().sell)
        answers = []

        async def buy(name):
            conn = await world.connect(server)
            await conn.send_all(name + b"\n")
            answers.append(await conn.receive_until(b"\n"))

        world.client(buy, b"ada", name="ada")
        world.client(buy, b"bob", name="bob")
        world.check(lambda: answers.count(b"sold\n") == 1)

    return two_buyers


def failure_of(scenario, seeds):
    try:
        simulate(scenario, seeds=seeds, faults=SLOW, shrink=0)
    except SimulationFailed as failure:
        return failure


def with_simulate():
    two_buyers = two_buyers_at(Office)
    failure = failure_of(two_buyers, 10_000)
    print("  runs without a failure before the first one with it:", failure.seed)
    again = [str(failure_of(two_buyers, [failure.seed])) for _ in range(10)]
    print("  that seed again, ten times; the same failure:", again.count(str(failure)))
    fixed = simulate(two_buyers_at(FixedOffice), seeds=300, faults=SLOW)
    print("  the correct office, runs without a failure:", fixed.runs)
    with picture(__file__):
        try:
            simulate(two_buyers, tape=failure.tape, faults=SLOW)
        except AssertionError:
            print("  the failing run again, for the picture: both bought the ticket")


if __name__ == "__main__":
    print("a test with sleeps, of a server in threads")
    with_the_stdlib()
    print("the same server on trio, simulated")
    with_simulate()
