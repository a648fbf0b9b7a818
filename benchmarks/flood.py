"""How long an honest client of TLS waits while silent ones connect: `python -m benchmarks.flood`.

A server in a process of its own, with default limits. RATE clients a second connect and never send a byte;
they leave after half a minute. Beside them an honest client, twice a second, connects, shakes hands and has
one line echoed. Each of these is given 15 seconds. The first twelve seconds are not counted: by then the
flood is as deep as it becomes, since the timeout of a handshake is ten.
"""

from __future__ import annotations

import argparse
import resource
import ssl
import subprocess
import sys

import trio
import trustme

import triosock

WARM_UP = 12.0
PATIENCE = 15.0
#: How long a silent client stays.
SILENCE = 30.0


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


async def be_silent(port):
    with trio.move_on_after(SILENCE):
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                while await stream.receive_some():
                    pass
        except (OSError, trio.BrokenResourceError):
            pass


async def flood(port, rate, nursery):
    begin = trio.current_time()
    number = 0
    while True:
        number += 1
        nursery.start_soon(be_silent, port)
        await trio.sleep_until(begin + number / rate)


async def be_honest(port, context, waits):
    began = trio.current_time()
    try:
        with trio.fail_after(PATIENCE):
            plain = await trio.open_tcp_stream("127.0.0.1", port)
            async with trio.SSLStream(
                plain, context, server_hostname="localhost", https_compatible=True
            ) as client:
                await client.send_all(b"hello\n")
                if await client.receive_some() != b"hello\n":
                    raise trio.BrokenResourceError("no answer")
    except (OSError, trio.BrokenResourceError, trio.TooSlowError):
        waits.append(None)
    else:
        waits.append(trio.current_time() - began)


async def measure(port, rate, seconds):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    waits = []
    async with trio.open_nursery() as around:
        if rate:
            around.start_soon(flood, port, rate, around)
        await trio.sleep(WARM_UP if rate else 0)
        async with trio.open_nursery() as honest:
            for _ in range(int(seconds * 2)):
                honest.start_soon(be_honest, port, context, waits)
                await trio.sleep(0.5)
        around.cancel_scope.cancel()
    return waits


def report(rate, waits):
    served = sorted(wait for wait in waits if wait is not None)
    line = f"{rate:>6} silent ones a second: {len(served)} of {len(waits)} honest ones served"
    if served:
        median, longest = served[len(served) // 2], served[-1]
        line += f", in {median * 1000:.0f} ms (median), {longest * 1000:.0f} ms (longest)"
    return line


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", type=int, nargs="*", default=[0, 200, 1000])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if arguments.serve:
        trio.run(serve)
        return
    for rate in arguments.rates:
        command = [sys.executable, "-m", "benchmarks.flood", "--serve"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            port = int(server.stdout.readline())
            waits = trio.run(measure, port, rate, arguments.seconds)
            server.stdin.close()
            print(
                f"{report(rate, waits)}; the server had {int(server.stdout.readline())} connections at most",
                flush=True,
            )


if __name__ == "__main__":
    main()
