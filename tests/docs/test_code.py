"""The files that the pages include are run: a page cannot show what does not work."""

from __future__ import annotations

import asyncio
import configparser
import contextlib
import functools
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading

import pytest
import trio
import trustme

import triosock
from tests.docs.units import CODE, DEPLOY, DOCS, complaints
from tests.handlers import ask_line
from tests.programs import PATIENCE, ROOT, dial, python, server_program
from tests.servers import connected, drained, serving_in_a_thread
from tests.stdio.programs import ending
from tests.tls import trusting
from tests.waiting import until
from triosock.testing import open_server


async def talk(handler, said=b"hello\n", answer=b"HELLO\n", **options):
    async with connected(handler, **options) as (_, client):
        await client.send_all(said)
        assert await client.receive_exactly(len(answer)) == answer


def ask(address):
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(b"hello\n")
        return client.makefile("rb").readline()


def test_every_file_is_included_somewhere():
    pages = "".join(path.read_text("utf-8") for path in DOCS.rglob("*.md"))
    for path in CODE.rglob("*.*"):
        if path.suffix in (".py", ".sh", ".service", ".socket", ".yaml"):
            assert f"code/{path.relative_to(CODE)}" in pages, f"{path.name} is on no page"


# Observe


def test_recorded_leaves_its_page_although_it_fails(load, tmp_path):
    with pytest.raises(ExceptionGroup):
        load("recorded").run_recorded(tmp_path / "run.html")
    assert "the second worker has had enough" in (tmp_path / "run.html").read_text("utf-8")


# Deploy


def test_activated_opens_its_own_port_or_takes_what_it_is_given(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        # Descriptor 3 and LISTEN_PID must be those of the process itself, as systemd does it.
        start = (
            f"import os, sys; os.dup2({number}, 3, inheritable=True); "
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='shout'); "
            "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        )
        command = [sys.executable, "-c", start, "-X", "dev", "-W", "error", str(CODE / "activated.py")]
        process = subprocess.Popen(
            command,
            pass_fds=[number],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PYTHONPATH": str(ROOT)},
        )
        with ending(process):
            assert ask(listener.getsockname()) == b"HELLO\n"
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=PATIENCE)
        # The port is the manager's, and stays open: who connects now waits for the next process.
        socket.create_connection(listener.getsockname(), timeout=30).close()
    assert process.returncode == 0, output
    assert re.search(
        r"^drained in \S+ s: \d finished, 0 failed, 0 left, 0 cancelled, 0 refused$", output, re.M
    )


def seconds(text, key):
    return float(re.search(rf"^ *{key}[=:] *(\d+)$", text, re.M)[1])


def test_managers_are_more_patient_than_the_program():
    unit = (DEPLOY / "shout.service").read_text()
    grace = float(re.search(r"grace=(\d+)", (CODE / "activated.py").read_text())[1])
    assert seconds(unit, "TimeoutStopSec") > grace
    pod = (DEPLOY / "shout.yaml").read_text()
    grace, wait = (float(re.search(rf'"--{key}", "(\d+)"', pod)[1]) for key in ("grace", "delay"))
    assert seconds(pod, "terminationGracePeriodSeconds") > grace + wait


def test_the_units_name_the_program_and_its_socket():
    parser = configparser.ConfigParser()
    for name in ("shout.service", "shout.socket"):
        parser.read_string((DEPLOY / name).read_text())
    assert parser["Service"]["ExecStart"].endswith("activated.py")
    assert parser["Socket"]["FileDescriptorName"] == "shout"


def test_systemd_understands_the_socket(tmp_path):
    assert complaints(tmp_path, "shout.service", "shout.socket") == []


def test_the_command_of_the_pod_runs():
    pod = re.sub(r"tcp://\*:\d+", "tcp://127.0.0.1:0", (DEPLOY / "shout.yaml").read_text())
    words = re.findall(r'"([^"]*)"', re.search(r"command: \[(\"python\".*)\]", pod)[1])
    assert words[0] == "python"
    with server_program(*words[1:], PYTHONPATH=f"{ROOT}:{CODE}") as program:
        with dial(int(program.wait_for(r"tcp://127\.0\.0\.1:(\d+): listens")[1])) as client:
            assert client.ask(b"hello\n") == b"HELLO\n"


async def test_a_handler_that_is_never_idle_looks_for_itself(load, autojump_clock):
    async with connected(load("drained").tick) as (served, client):
        assert await client.receive_until(b"\n") == b"tick\n"
        assert await client.receive_until(b"\n") == b"tick\n"
        assert trio.current_time() == 1
        served.server.drain()
        assert await client.receive_until(b"\n") == b"goodbye\n"
        assert trio.current_time() == 1


async def test_under_load_a_drain_hurts_nobody(load, capsys):
    recorder = triosock.testing.Recorder(triosock.events.ConnectionOpened)
    options = {"host": "127.0.0.1", "observers": [recorder]}
    async with trio.open_nursery() as nursery:
        serve = functools.partial(triosock.serve_tcp, load("shout").shout, 0, **options)
        server = await nursery.start(serve)
        nursery.start_soon(load("under_load").main, server.addresses[0].port)
        await recorder.wait_for(triosock.events.ConnectionOpened, 50)
        report = await drained(server)
    assert (report.finished, report.cancelled, report.failed) == (50, 0, 0)
    heard = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert heard.keys() <= {"answers", "ended by the server"}
    assert heard["ended by the server"] == "50"


async def test_draining_for_a_reason_of_ones_own(load):
    module, event = load("drained"), trio.Event()
    event.set()
    report = await module.serve_until(event, load("shout").shout, [triosock.testing.MemoryListener()])
    assert report.drained
    assert report.clean


# TLS, limits, tests, observers


async def test_starttls(load):
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("example.org").configure_cert(context)
    async with connected(load("starttls").make_handler(context)) as (_, client):
        assert await ask_line(client, b"hello\n") == b"say STARTTLS first\n"
        assert await ask_line(client, b"STARTTLS\n") == b"go on\n"
        await client.start_tls(trusting(authority), server_side=False, server_hostname="example.org")
        assert await ask_line(client, b"hello\n") == b"HELLO\n"


async def test_limits(load):
    module = load("limits")
    await talk(load("shout").shout, **module.OPTIONS)
    await talk(module.say_busy, answer=b"busy, come back later\n")


async def test_a_limit_of_ones_own(load, autojump_clock):
    async def ask_database(line):
        await trio.sleep(1)
        return line.upper()

    handler = load("two_limits").make_handler(ask_database, most=2)
    async with open_server(handler) as served:
        clients = [await served.connect() for _ in range(4)]
        for client in clients:
            await client.send_all(b"hello\n")
        for client in clients:
            assert await client.receive_until(b"\n") == b"HELLO\n"
        assert trio.current_time() == 2


async def test_an_observer(load):
    observer = load("observer").Ends()
    await talk(load("shout").shout, observers=[observer])
    assert observer.causes == {"finished": 1}


async def test_what_an_operator_wants_is_told(load, tmp_path, monkeypatch):
    pytest.importorskip("opentelemetry")
    telling = load("telling")
    path = tmp_path / "access.log"

    async def serve_once(handler, port, **options):
        await talk(handler, observers=options.get("observers", ()))

    monkeypatch.setattr(triosock, "serve_tcp", serve_once)
    await telling.with_access_log(0, path)
    assert re.fullmatch(r'memory/1 \[[^]]+\] finished 6 "-"\n', path.read_text())
    await telling.with_traces(0)
    await telling.with_a_watch(0)


def test_the_test_that_the_page_shows(tmp_path):
    options = ["-q", "-c", ROOT / "pyproject.toml", "--rootdir", tmp_path, "-p", "no:cacheprovider"]
    done = python("-m", "pytest", *options, CODE / "test_shout.py", cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


# Porting


@pytest.mark.parametrize("name", ["port_stdlib", "port_compat"])
def test_a_server_of_the_stdlibs_kind(load, name):
    module = load(name)
    with module.Server(("127.0.0.1", 0), module.Shout) as server:
        with serving_in_a_thread(server):
            assert ask(server.server_address) == b"HELLO\n"


async def test_a_class_and_a_function(load):
    await talk(load("port_class").Shout.serve)
    await talk(load("shout").shout)


async def test_the_handler_for_trio_runs_here_as_it_is(load):
    await talk(load("port_trio_before").shout, b"hello\nyou\n", b"HELLO\nYOU\n")


async def test_the_handler_for_trio_runs_there(load):
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, load("port_trio_before").shout, 0)
        async with await trio.testing.open_stream_to_socket_listener(listeners[0]) as client:
            await client.send_all(b"hello\n")
            assert await client.receive_some() == b"HELLO\n"
        nursery.cancel_scope.cancel()


def test_the_handler_for_asyncio_runs_there(load):
    async def main():
        server = await asyncio.start_server(load("port_asyncio_before").shout, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            assert await reader.readline() == b"HELLO\n"
            writer.close()
            await writer.wait_closed()

    asyncio.run(main())


async def test_old_and_new_beside_each_other(load):
    with triosock.DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load("port_beside").main, 0, 0)
            await until(lambda: len(scope._children) == 2)
            scope.drain(grace=1)
    assert [name for name, report in scope.reports if report.clean] in (["old", "new"], ["new", "old"])


def test_compat_runs_programs_as_they_are():
    lines = (CODE / "port.sh").read_text().splitlines()
    assert all(line.startswith("python -m triosock.compat ") for line in lines)
    with server_program("-m", "triosock.compat", "-m", "http.server", 0, "--bind", "127.0.0.1") as program:
        port = int(program.wait_for(r"Serving HTTP on 127.0.0.1 port (\d+)")[1])
        with dial(port) as client:
            assert client.ask(b"GET / HTTP/1.0\r\n\r\n") == b"HTTP/1.0 200 OK\r\n"
        program.signal(signal.SIGINT)


# The discussion


@pytest.mark.parametrize("listens_at_the_end", [False, True])
def test_the_server_of_threads_works(load, listens_at_the_end):
    def shout(sock):
        while data := sock.recv(100):
            sock.sendall(data.upper())

    server = load("without_nurseries").Server(shout)
    serving = threading.Thread(target=server.serve)
    serving.start()
    address = server.listener.getsockname()
    with contextlib.ExitStack() as stack:
        try:
            assert ask(address) == b"HELLO\n"
            if listens_at_the_end:
                client = stack.enter_context(socket.create_connection(address, timeout=30))
                client.sendall(b"hello\n")
                assert client.recv(100) == b"HELLO\n"
        finally:
            server.end(grace=0.1)
    serving.join()
    assert not server.connections


async def test_the_server_with_nurseries_works(load):
    listener = triosock.testing.MemoryListener()
    with triosock.DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load("with_nurseries").serve, load("shout").shout, [listener], 1)
            async with triosock.Connection(await listener.connect()) as client:
                assert await ask_line(client, b"hello\n") == b"HELLO\n"
            scope.drain()
    assert scope.reports[0][1].clean


async def test_a_bounded_outbox(load):
    module, room = load("backpressure"), set()

    async def handle(conn):
        await module.subscribe(conn, room)

    async with connected(handle) as (_, client):
        await trio.testing.wait_all_tasks_blocked()
        module.tell_all(room, b"news\n")
        assert await client.receive_until(b"\n") == b"news\n"
        for _ in range(102):  # faster than anybody can read: one is under way, 100 wait, one is too many
            module.tell_all(room, b"more\n")
        assert not room
        for _ in range(101):
            assert await client.receive_until(b"\n") == b"more\n"
        assert await client.receive_some() == b""


async def test_blocking_work_in_a_thread(load):
    await talk(load("threads").make_handler(bytes.upper))


def test_shell_lines_name_what_exists():
    for path in CODE.glob("*.sh"):
        for line in path.read_text().splitlines():
            for word in re.findall(r"\S+\.py\b", line):
                known = word in ("mine.py", "yourserver.py") or (CODE / word).is_file()
                assert known or (ROOT / word).is_file(), line
            for target in re.findall(r"^make (\S+)", line):
                assert f"\n{target}:" in (ROOT / "Makefile").read_text()
