"""`triosock top` in a real terminal (tmux): what a person sees, redrawn in place."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

from tests.programs import PATIENCE, ROOT, running

pytestmark = pytest.mark.slow

PROGRAM = """
import contextlib, sys, trio, triosock
from functools import partial
async def work(conn):
    async for line in conn.lines():
        async with conn.request(timeout=600):
            await trio.sleep_forever()
async def main():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(triosock.serve_tcp, work, 0, host="127.0.0.1", name="shop")
        )
        async with contextlib.AsyncExitStack() as stack:
            for number in range(3):
                client = await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port)
                await stack.enter_async_context(client)
                if number == 1:
                    await client.send_all(b"work\\n")
            print("ready", flush=True)
            await server.wait_closed()
triosock.run(main, control=sys.argv[1])
"""


class Terminal:
    def __init__(self, socket, *command: str) -> None:
        # The shell says how it ended, and stays: tmux sometimes does not notice the end of a process.
        script = f"trap : INT; {shlex.join(command)}; echo ended with $?; exec cat"
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        self._call("new-session", "-d", "-x", "100", "-y", "16", "-c", str(ROOT), "sh", "-c", script)

    def _call(self, *words: str) -> str:
        # libreadline, where it is loaded, puts the size of its own terminal into what is inherited.
        environment = {name: text for name, text in os.environ.items() if name not in ("LINES", "COLUMNS")}
        done = subprocess.run(
            [*self._tmux, *words], check=True, capture_output=True, text=True, env=environment
        )
        return done.stdout

    def wait_for(self, *texts: str, gone: Sequence[str] = ()) -> str:
        """A terminal cannot be waited for, and may be caught half drawn: look until it shows all of `texts`,
        and no longer what is to be `gone`.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            screen = self._call("capture-pane", "-p")
            if all(text in screen for text in texts) and not any(text in screen for text in gone):
                return screen
            assert time.monotonic() < deadline, screen

    def colours(self) -> str:
        return self._call("capture-pane", "-p", "-e")

    def key(self, name: str) -> None:
        self._call("send-keys", name)

    def close(self) -> None:
        self._call("kill-server")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="not installed: tmux")
def test_it_shows_the_tree_in_place_and_follows_a_drain(tmp_path):
    control = tmp_path / "control"
    with running("-c", PROGRAM, control) as program:
        program.wait_for("ready")
        command = [sys.executable, "-m", "triosock", "top", str(control), "--interval", "0.1"]
        terminal = Terminal(tmp_path / "tmux", *command)
        try:
            screen = terminal.wait_for(
                "triosock top ",
                "2 servers, 4 active",
                "server shop · serving",
                "· idle ·",
                "connection 2 of",
                "(conn.request())",
            )
            lines = screen.splitlines()
            assert lines[0].startswith("triosock top ")
            assert max(map(len, lines)) <= 100
            assert "\x1b[" in terminal.colours()
            program.signal()
            # Who was idle is closing, or gone; who works stays.
            screen = terminal.wait_for("server shop · draining", "· working ·", gone=["· idle ·"])
            # In place: the last look is not below the one before.
            assert screen.count("server shop") == 1
            assert "closing" in screen or "connection 1 of tcp" not in screen
            terminal.key("C-c")
            terminal.wait_for("ended with 0")
        finally:
            terminal.close()
        program.signal_again()
        program.wait()
