"""How long honest clients of TLS wait in a flood of clients who do not finish: `python -m benchmarks.flood`.

A server in a process of its own, with default limits. RATE clients a second connect, send what their kind
sends, and then nothing; they leave after half a minute. The kinds:

    silent    nothing at all
    byte      the first byte of a ClientHello
    half      half a ClientHello
    hello     a whole one, so that the server answers, with its signature

Beside them honest clients come twice a second, by turns one that connects, shakes hands and has
one line echoed, and one that does the same with a round trip of 300 ms and its hello in two pieces. Each of
these is given 15 seconds. The first twelve seconds are not counted: by then the flood is as deep as it
becomes, since the timeout of a handshake is ten.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import resource
import ssl
import subprocess
import sys

import trio
import trustme

import triosock

WARM_UP = 12.0
PATIENCE = 15.0
#: How long a client that does not finish stays.
SILENCE = 30.0
ROUND_TRIP = 0.3


async def echo(conn):
    async for line in conn.lines():
        await conn.send_all(line)


async def serve():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(_serve, context)
        print(server.addresses[0].port, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        print(server.statistics().peak, flush=True)
        nursery.cancel_scope.cancel()


async def _serve(context, task_status):
    await triosock.serve_tcp(echo, 0, host="127.0.0.1", tls=context, task_status=task_status)


class Client:
    """A client's side of TLS, whose bytes the caller carries."""

    def __init__(self, context):
        self.received, self._sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self.received, self._sent, server_hostname="localhost")

    def step(self, call, *arguments):
        """Return what comes of it, or None if more must be received first; and what is to be sent."""
        result = None
        with contextlib.suppress(ssl.SSLWantReadError):
            result = getattr(self._tls, call)(*arguments)
        return result, self._sent.read()


def first_words(context):
    """Return what a client of each kind sends."""
    _, hello = Client(context).step("do_handshake")
    return {"silent": b"", "byte": hello[:1], "half": hello[: len(hello) // 2], "hello": hello}


async def stop_there(port, words):
    with trio.move_on_after(SILENCE):
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                if words:
                    await stream.send_all(words)
                while await stream.receive_some():
                    pass
        except (OSError, trio.BrokenResourceError):
            pass


async def flood(port, rate, words, nursery):
    begin = trio.current_time()
    number = 0
    while True:
        number += 1
        nursery.start_soon(stop_there, port, words)
        await trio.sleep_until(begin + number / rate)


async def talk(port, context):
    plain = await trio.open_tcp_stream("127.0.0.1", port)
    async with trio.SSLStream(plain, context, server_hostname="localhost", https_compatible=True) as client:
        await client.send_all(b"hello\n")
        if await client.receive_some() != b"hello\n":
            raise trio.BrokenResourceError("no answer")


async def talk_slowly(port, context):
    client = Client(context)
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:

        async def hear():
            data = await stream.receive_some()
            if not data:
                raise trio.BrokenResourceError("no answer")
            client.received.write(data)

        _, hello = client.step("do_handshake")
        await stream.send_all(hello[:200])
        await trio.sleep(ROUND_TRIP)
        await stream.send_all(hello[200:])
        words = b""
        while not words:
            await hear()
            _, words = client.step("do_handshake")
        await trio.sleep(ROUND_TRIP)
        await stream.send_all(words + client.step("write", b"hello\n")[1])
        while client.step("read", 100)[0] is None:
            await hear()


async def be_honest(how, port, context, waits):
    began = trio.current_time()
    try:
        with trio.fail_after(PATIENCE):
            await how(port, context)
    except (OSError, trio.BrokenResourceError, trio.TooSlowError):
        waits.append(None)
    else:
        waits.append(trio.current_time() - began)


async def measure(port, kind, rate, seconds):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    waits = {talk: [], talk_slowly: []}
    async with trio.open_nursery() as around:
        if rate:
            around.start_soon(flood, port, rate, first_words(context)[kind], around)
        await trio.sleep(WARM_UP if rate else 0)
        async with trio.open_nursery() as honest:
            for number in range(int(seconds * 2)):
                how = talk_slowly if number % 2 else talk
                honest.start_soon(be_honest, how, port, context, waits[how])
                await trio.sleep(0.5)
        around.cancel_scope.cancel()
    return waits


def report(waits):
    parts = []
    for how, name in ((talk, "quick"), (talk_slowly, "slow")):
        served = sorted(wait for wait in waits[how] if wait is not None)
        part = f"{len(served)} of {len(waits[how])} {name} ones served"
        if served:
            median, longest = served[len(served) // 2], served[-1]
            part += f", in {median * 1000:.0f} ms (median), {longest * 1000:.0f} ms (longest)"
        parts.append(part)
    return "; ".join(parts)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="*", default=["silent", "byte", "half", "hello"])
    parser.add_argument("--rates", type=int, nargs="*", default=[200], help="0 for no flood")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if arguments.serve:
        trio.run(serve)
        return
    for kind, rate in itertools.product(arguments.kinds, arguments.rates):
        command = [sys.executable, "-m", "benchmarks.flood", "--serve"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            port = int(server.stdout.readline())
            waits = trio.run(measure, port, kind, rate, arguments.seconds)
            server.stdin.close()
            peak = int(server.stdout.readline())
            print(f"{rate} a second, {kind}: {report(waits)}; {peak} connections at most", flush=True)


if __name__ == "__main__":
    main()
