"""A program with its health port as a task beside its server: the first signal drains it, and it ends."""

from __future__ import annotations

from tests.health.client import get
from tests.programs import dial, server_program

PROGRAM = """
import logging, trio, triosock
from functools import partial
from triosock.cli.handlers import shout
logging.basicConfig(level="INFO", format="%(message)s")
async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(triosock.serve_health, "tcp://127.0.0.1:0")
        await nursery.start(partial(triosock.serve_tcp, shout, 0, host="127.0.0.1", name="shout"))
triosock.run(main, grace=20, delay=0.5)
"""


def test_a_signal_is_told_at_once_and_ends_both() -> None:
    with server_program("-c", PROGRAM) as program:
        health, port = program.port("triosock health"), program.port("shout")
        with dial(port) as idle, dial(port) as busy:
            assert idle.ask(b"hello\n") == b"HELLO\n"
            busy.say(b"half")  # so that the drain goes on, however late somebody asks
            assert get(health) == (200, "ready")
            program.signal()
            program.wait_for("will drain in 0.5 s")
            assert get(health) == (503, "shout: draining")
            assert idle.rest() == b""
            busy.say(b" and half\n")
            assert busy.rest() == b"HALF AND HALF\n"
