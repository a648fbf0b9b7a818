"""The pages that show the health port: the program, the pods, and a real HAProxy that takes a server out."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.units import CODE, DEPLOY
from tests.health.client import get
from tests.programs import Program, dial, running, server_program
from tests.waiting import eventually

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


def test_the_program_answers_until_its_last_client_has_gone() -> None:
    with running(CODE / "health.py", 0, 0) as program:
        health, port = program.port("triosock health"), program.port("shout")
        with dial(port) as client:
            assert get(health) == (200, "ready")
            assert client.ask(b"hello\n") == b"HELLO\n"
            program.signal()
            program.wait_for("will drain in 5 s")
            assert get(health) == (503, "shout: draining")
            assert get(health, "/live") == (200, "live")
        program.signal_again()
        assert program.wait() == 128 + signal.SIGTERM


@pytest.mark.parametrize("name", ["shout.yaml", "shop.yaml"])
def test_the_probes_of_a_pod_are_answered_by_its_command(name: str) -> None:
    pod = (DEPLOY / name).read_text()
    command = re.search(r"command: \[(\"python\".*)\]", pod)
    assert command is not None
    words = [
        re.sub(r"tcp://\*:\d+", "tcp://127.0.0.1:0", word) for word in re.findall(r'"([^"]*)"', command[1])
    ]
    words[words.index("--handler") + 1] = "triosock.cli.handlers:shout"
    if "auto" in words:
        words[words.index("auto")] = "1"
    probes = re.findall(r"httpGet: {path: (\S+), port: 8081}", pod)
    assert set(probes) == {"/live", "/ready"}
    assert "tcp://*:8081" in command[1]
    with running(*words[1:]) as program:
        health = program.port("triosock health")
        program.wait_for("1 workers on" if "1" in words else r"tcp://127\.0\.0\.1:\d+: listens")
        assert [get(health, path)[0] for path in probes] == [200] * len(probes)
        program.signal()
        assert eventually(lambda: get(health)[0] != 200)
        assert get(health, "/live")[0] == 200
        program.signal_again()
        program.wait()


SERVER = """
import sys, triosock
async def handle(conn):
    async for line in conn.lines():
        if line == b"\\r\\n":
            await conn.send_all(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\n" + sys.argv[1].encode())
async def main():
    async with triosock.open_health("tcp://127.0.0.1:0"):
        await triosock.serve_tcp(handle, 0, host="127.0.0.1", proxy=True, name="web")
import logging; logging.basicConfig(level="INFO", format="%(message)s")
triosock.run(main, delay=6, grace=5)
"""


@contextlib.contextmanager
def haproxy(folder: Path, servers: dict[str, Program]) -> Iterator[int]:
    """HAProxy with the file of the page, but for its ports."""
    sock = socket.create_server(("127.0.0.1", 0))
    front = sock.getsockname()[1]
    text = (DEPLOY / "haproxy.cfg").read_text().replace("127.0.0.1:8000", f"fd@{sock.fileno()}")
    for number, program in enumerate(servers.values()):
        port, health = program.port("web"), program.port("triosock health")
        text = text.replace(f":{8080 + number} ", f":{port} ").replace(
            f"port {8090 + number}", f"port {health}"
        )
    (folder / "haproxy.cfg").write_text(text)
    assert HAPROXY is not None
    with sock:
        process = subprocess.Popen(
            [HAPROXY, "-db", "-f", folder / "haproxy.cfg"],
            stderr=subprocess.DEVNULL,
            pass_fds=[sock.fileno()],
        )
    try:
        yield front
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
def test_haproxy_sends_nobody_to_a_server_that_will_drain(tmp_path: Path) -> None:
    def ask(front: int) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{front}/", timeout=20) as answer:
            return str(answer.read().decode())

    with server_program("-c", SERVER, "one!") as one, server_program("-c", SERVER, "two!") as two:
        with haproxy(tmp_path, {"one": one, "two": two}) as front:
            until = time.monotonic() + 20
            while True:
                with contextlib.suppress(OSError):
                    if {ask(front) for _ in range(4)} == {"one!", "two!"}:
                        break
                assert time.monotonic() < until
            one.signal()
            one.wait_for("will drain in 6 s")
            # Within its delay, in which the server itself still serves whoever comes.
            answers: list[str] = []
            while answers[-4:] != ["two!"] * 4:
                answers.append(ask(front))
            assert "drains: " not in one.output
            assert one.wait() == 0
            assert {ask(front) for _ in range(4)} == {"two!"}, "nobody was refused"
