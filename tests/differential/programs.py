"""Programs in processes of their own, with one module and with the other."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import Any

from tests.differential.harness import PATIENCE, normal

PRELUDE = """
import contextlib, os, signal, socket, sys, threading, time
import {module} as socketserver

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())

def ask(server, data=b"x\\n"):
    with socket.create_connection(server.server_address, 10) as client:
        client.sendall(data)
        return client.recv(100)

@contextlib.contextmanager
def serving(server, *interval):
    # In a thread, until the end of the block.
    thread = threading.Thread(target=server.serve_forever, args=interval)
    thread.start()
    try:
        yield thread
    finally:
        server.shutdown()
        thread.join()

def say(*args):
    print(*args, flush=True)

def kill_soon(number, delay=0.2):
    # From a process of its own, as a terminal would.
    if os.fork() == 0:
        time.sleep(delay)
        os.kill(os.getppid(), number)
        os._exit(0)
"""


def run(program: str, *, send: int | None = None) -> list[Any]:
    """Run a program with each module; assert that both went the same way, and return how.

    With `send`, the signal is sent when the program prints its first line, and how long it then lives is
    added.
    """
    seen = []
    for module in ("socketserver", "triosock.compat"):
        code = PRELUDE.format(module=module) + textwrap.dedent(program)
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-X", "dev", "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        extra: list[Any] = []
        try:
            if send is not None:
                assert process.stdout is not None
                extra.append(process.stdout.readline())
                process.send_signal(send)
                began = time.monotonic()
                process.wait(PATIENCE)
                extra.append("soon" if time.monotonic() - began < PATIENCE / 2 else "late")
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            # With its children, which would keep the pipes open.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        seen.append(normal([*extra, out, err, process.returncode]))
    assert seen[1] == seen[0]
    return seen[0]
