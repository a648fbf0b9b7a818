"""Lesson 10: many processes.

Question   A new version takes over while clients are being served. Which of them notice it?
Predict    Ada has sent half a line, and new visitors keep connecting. Write down what they get, both ways.
Run        python examples/tutorial/lesson10.py
Exercise   python -m examples.tutorial.check lesson10 mine.py
Course     session 4 of 4, about 35 minutes, optional
"""

import logging
import os
import pathlib
import socketserver
import subprocess
import sys
from functools import partial

import trio
from stage import END, RESET, Client, ask, connect, hear, picture, refused

import triosock

FOLDER = pathlib.Path(__file__).resolve().parent
# The other processes import this file, too.
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{FOLDER}{os.pathsep}{FOLDER.parents[1]}"}
VISITORS = 2


class ShoutInThread(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


def only_process(port):
    with Server(("127.0.0.1", port), ShoutInThread) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


def start(port):
    program = f"import lesson10; lesson10.only_process({port})"
    process = subprocess.Popen([sys.executable, "-c", program], env=ENVIRONMENT, stdout=subprocess.PIPE)
    return process, int(process.stdout.readline())  # its port; now it listens


def with_the_stdlib():
    old, port = start(0)
    with old, Client(("127.0.0.1", port)) as ada:
        ada.ask(b"hello")
        ada.say(b"half a li")
        old.terminate()
        old.wait()
        print("  Ada, in the middle of a request, loses it:", ada.hear() in (END, RESET))
        print("  Bob connects in between, and is refused:", refused(port))
    new, port = start(port)
    with new, Client(("127.0.0.1", port)) as cyd:
        print("  Cyd connects afterwards, and gets:", cyd.ask(b"hello"))
        new.terminate()


async def answer_pid(conn):
    async for _line in conn.lines():
        await trio.sleep(0.25)  # the work
        await conn.send_all(b"%d\n" % os.getpid())


async def worker():
    logging.getLogger("triosock").setLevel("WARNING")
    await triosock.serve_listeners(answer_pid, triosock.inherited_listeners())


serve_workers = partial(
    triosock.serve_workers,
    "lesson10:worker",
    ["tcp://127.0.0.1:0"],
    workers=2,
    environment=ENVIRONMENT,
    supervision=triosock.Supervision(settle=0.1),  # seconds that a new worker must run
)


async def pass_on(source, target):
    async for data in source:
        await target.send_all(data)
    await target.send_eof()


def proxy_to(workers):
    async def proxy(client):
        async with await connect(workers) as worker, trio.open_nursery() as nursery:
            nursery.start_soon(pass_on, worker, client)
            await pass_on(client, worker)

    return partial(triosock.serve_tcp, proxy, 0, host="127.0.0.1", name="proxy")


async def keep_connecting(proxy, answers, until):
    while not until.is_set():
        async with await connect(proxy) as visitor:
            answers.append(await ask(visitor, b"hello"))


async def with_workers(timeline):
    async with trio.open_nursery() as nursery:
        workers = await nursery.start(serve_workers)
        proxy = await nursery.start(proxy_to(workers))
        before = {one.process for one in workers.statistics()}
        answers, replaced = [], trio.Event()
        ada = await connect(proxy)
        await ask(ada, b"hello")
        await ada.send_all(b"half a li")
        async with trio.open_nursery() as visiting:
            for _ in range(VISITORS):
                visiting.start_soon(keep_connecting, proxy, answers, replaced)
            timeline.mark("the restart begins")
            print("  workers:", await workers.restart())
            timeline.mark("all workers are replaced")
            replaced.set()
        print("  visitors meanwhile:", len(answers))
        print("  visitors without an answer:", sum(not answer.isdecimal() for answer in answers))
        async with ada:
            await ada.send_all(b"ne\n")
            print("  Ada ends her line; an old process answers:", int(await hear(ada)) in before)
        proxy.drain()
        await proxy.wait_closed()
        workers.drain()
    print("  processes left:", len(workers.statistics()))


if __name__ == "__main__":
    print("one process, restarted")
    with_the_stdlib()
    print("triosock.serve_workers, two processes, replaced one after the other")
    with picture(__file__) as timeline:
        trio.run(with_workers, timeline)
