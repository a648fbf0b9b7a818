"""Parent and workers: what is served, how it ends, and that nothing is left."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys

import pytest
import trio
import trio.testing

import triosock
from tests.programs import running
from tests.servers import drained
from triosock.workers import endpoints, file_guard
from triosock.workers.handover import VARIABLE, Handover, describe
from triosock.workers.receiver import NotifyReceiver

from .conftest import HERE, PATIENCE, ask, dial, occupy, processes, service, until


async def test_workers_serve_one_port_and_drain_into_one_report():
    async with service(workers=2) as workers:
        assert workers.count == 2
        assert [one.number for one in workers.statistics()] == [1, 2]
        assert {one.state for one in workers.statistics()} == {"ready"}
        served = set()
        clients = []
        while served != set(processes(workers)):
            clients.append(dial(workers))
            served.add(int(await ask(clients[-1], "pid")))
        for client in clients:
            assert await ask(client, "wait") == "begun"
        workers.drain(grace=20)
        for client in clients:
            assert await ask(client, "go on") == "waited"
            assert await client.receive_some() == b""
        report = await workers.wait_closed()
        for client in clients:
            await client.aclose()
    assert report.clean
    assert (report.finished, report.failed, report.cancelled) == (len(clients), 0, 0)
    assert workers.statistics() == ()


async def test_a_connect_during_the_drain_is_refused():
    async with service(workers=2) as workers, await occupy(workers, "wait") as client:
        workers.drain()
        port = workers.addresses[0].port

        def is_refused() -> bool:
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", port)) != 0

        await until(is_refused)
        assert await ask(client, "go on") == "waited"


async def test_what_is_still_busy_at_the_deadline_is_cut_and_described():
    async with service(workers=2) as workers, await occupy(workers, "wait"):
        workers.drain(grace=600)
        report = await drained(workers, grace=0.2)
        assert (report.cancelled, report.drained, report.clean) == (1, True, False)
        (straggler,) = report.slowest
        assert "handle" in straggler.stack[-1]


@pytest.mark.parametrize(("count", "work"), [(2, "wait"), (1, "block")])
async def test_cancelled_everything_ends_at_once(count, work):
    with trio.CancelScope() as scope:
        async with service(workers=count) as workers:
            client = await occupy(workers, work)
            began = trio.current_time()
            scope.cancel()
    assert trio.current_time() - began < 10
    assert scope.cancelled_caught
    await trio.aclose_forcefully(client)


async def test_one_that_does_not_drain_in_time_is_killed(monkeypatch):
    monkeypatch.setattr("triosock.workers.worker.MARGIN", 0.3)
    async with service(workers=1) as workers:
        client = await occupy(workers, "block")
        report = await drained(workers, grace=0.1)
    assert not report.drained
    await trio.aclose_forcefully(client)


async def test_a_unix_socket_file_is_there_and_goes(tmp_path):
    path = tmp_path / "socket"
    async with service(endpoints={"web": f"unix://{path}", "tcp": "tcp://127.0.0.1:0"}) as workers:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(str(path))
            sock.sendall(b"hello\n")
            assert await trio.to_thread.run_sync(sock.recv, 100) == b"HELLO\n"
        assert [str(one).partition(":")[0] for one in workers.addresses] == ["unix", "tcp"]
    assert not path.exists()


async def test_a_listener_that_is_open_already_is_taken():
    (listener,) = await triosock.open_tcp_listeners(0, host="127.0.0.1")
    async with service(endpoints=[listener], workers=1) as workers:
        async with dial(workers) as client:
            assert await ask(client, "hello") == "HELLO"
    assert listener.is_closed


async def test_any_program_that_tells_when_it_is_ready_can_be_a_worker(tmp_path):
    # No triosock in it: sd_listen_fds and sd_notify by hand, and the default of SIGTERM.
    program = tmp_path / "program.py"
    program.write_text(
        "import os, socket\n"
        "assert os.environ['LISTEN_PID'] == str(os.getpid())\n"
        "assert (os.environ['LISTEN_FDS'], os.environ['LISTEN_FDNAMES']) == ('1', 'web')\n"
        "listener = socket.socket(fileno=3)\n"
        "notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "notify.sendto(b'READY=1', '\\0' + os.environ['NOTIFY_SOCKET'][1:])\n"
        "while True:\n"
        "    listener.setblocking(True)\n"
        "    conn, _ = listener.accept()\n"
        "    conn.sendall(b'%d\\n' % os.getpid())\n"
        "    conn.close()\n"
    )
    async with service(
        [sys.executable, str(program)],
        {"web": "tcp://127.0.0.1:0"},
        workers=1,
        environment=dict(os.environ),
        supervision=triosock.Supervision(watchdog=0.1),  # which it does not feed
    ) as workers:
        await trio.sleep(0.4)
        async with dial(workers) as client:
            assert int(await client.receive_until(b"\n")) == processes(workers)[0]


# A beginning that fails


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (f"{HERE}:there_is_none", "exited with 1 before it was ready"),
        ("no_such_module:main", "exited with 1 before it was ready"),
        (["/no/such/program"], "exited with 1 before it was ready"),
        ([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], "ended by signal 9 .* before it was"),
    ],
)
async def test_a_worker_that_does_not_start_ends_the_beginning(program, words, capfd):
    with pytest.raises(triosock.WorkersFailed, match=words):
        await triosock.serve_workers(program, ["tcp://127.0.0.1:0"], workers=2)
    if "exited" in words:
        assert capfd.readouterr().err  # the worker's own words


async def test_a_worker_that_is_never_ready_ends_the_beginning():
    supervision = triosock.Supervision(ready=0.3)
    with pytest.raises(triosock.WorkersFailed, match=r"killed \(not ready within 0.3 s\)"):
        await triosock.serve_workers(
            [sys.executable, "-c", "import time; time.sleep(60)"], [], workers=1, supervision=supervision
        )


async def test_an_endpoint_that_cannot_be_opened_leaves_nothing(tmp_path):
    path = tmp_path / "socket"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(triosock.AddressUnavailable):
            await triosock.serve_workers(
                f"{HERE}:shout", [f"unix://{path}", f"tcp://127.0.0.1:{port}"], workers=1
            )
    assert not path.exists()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"workers": 0}, ValueError, "workers must be from 1 on"),
        ({"workers": True}, TypeError, "workers must be"),
        ({"grace": -1}, ValueError, "grace must be"),
        ({"program": "nonsense"}, ValueError, "module:function"),
        ({"program": []}, TypeError, "command line"),
        ({"endpoints": "tcp://*:1"}, TypeError, "several addresses"),
        ({"endpoints": ["http://x"]}, ValueError, "must begin with"),
        ({"endpoints": {"a:b": "tcp://*:1"}}, ValueError, "without ':'"),
        ({"endpoints": ["fd://web"]}, ValueError, "no socket named 'web'"),
        ({"endpoints": {"": "tcp://*:1"}}, ValueError, "one or more ASCII characters"),
        ({"supervision": {"ready": 5}}, TypeError, r"supervision must be a triosock\.Supervision"),
        ({"recycle": []}, TypeError, r"recycle must be a triosock\.Recycle"),
        ({"environment": [("a", "b")]}, TypeError, "environment must be a mapping"),
        ({"environment": {"a": 5}}, TypeError, "environment must be a mapping of str to str"),
        ({"name": 5}, TypeError, "name must be a str"),
        ({"idle_grace": -1}, ValueError, "idle_grace must be"),
        ({"modes": 0o600}, TypeError, "modes must be a mapping"),
        ({"endpoints": ["unix:///x"], "modes": {"endpoint1": "600"}}, TypeError, "mode must be permission"),
        (
            {"endpoints": ["unix:///x"], "modes": {"web": 0o600}},
            ValueError,
            "modes: 'web' is no unix:// endpoint; there are: endpoint1",
        ),
        ({"endpoints": {"web": "tcp://*:1"}, "modes": {"web": 0o600}}, ValueError, "there are: none"),
    ],
)
async def test_wrong_arguments_are_told(changes, error, words):
    arguments = {"program": f"{HERE}:shout", "endpoints": [], **changes}
    with pytest.raises(error, match=words):
        await triosock.serve_workers(arguments.pop("program"), arguments.pop("endpoints"), **arguments)


async def test_what_the_parent_was_told_by_others_is_not_told_to_its_workers(monkeypatch):
    with NotifyReceiver() as predecessor:
        monkeypatch.setenv(VARIABLE, describe(Handover(predecessor.path, [], {}, {})))
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        monkeypatch.setenv("WATCHDOG_USEC", "1000000000")
        environment = dict(os.environ)
        for given in (None, environment):
            async with service(workers=1, environment=given) as workers:
                client = dial(workers)
                variables = (await ask(client, "variables")).split()
                assert not {VARIABLE, "WATCHDOG_PID"} & set(variables)
                await client.aclose()
                await until(lambda: workers._slots[0].workers[0]._feeds_watchdog)


# The parent's death


async def test_workers_and_socket_files_go_with_a_parent_that_is_killed(tmp_path):
    files = tmp_path / "socket", tmp_path / "control"
    program = tmp_path / "parent.py"
    program.write_text(
        "import functools, trio, triosock\n"
        "async def main():\n"
        "    async with trio.open_nursery() as nursery:\n"
        "        workers = await nursery.start(functools.partial(\n"
        f"            triosock.serve_workers, '{HERE}:shout', ['tcp://127.0.0.1:0', 'unix://{files[0]}'],\n"
        f"            workers=2, control='{files[1]}'))\n"
        "        children = [one.process for one in workers.statistics()]\n"
        "        print('children:', *children, workers.endpoints.guard.id, flush=True)\n"
        "triosock.run(main)\n"
    )
    with running(program) as parent:
        children = [int(one) for one in parent.wait_for(r"children: (\d+) (\d+) (\d+)\n").groups()]
        assert all(one.exists() for one in files)
        handles = [os.pidfd_open(one) for one in children]
        parent.process.kill()
        with trio.fail_after(PATIENCE):
            for handle in handles:
                await trio.lowlevel.wait_readable(handle)
                os.close(handle)
    assert not any(one.exists() for one in files)


async def test_socket_files_go_with_a_parent_that_is_killed_while_its_workers_start(tmp_path):
    files = tmp_path / "socket", tmp_path / "control"
    worker = [sys.executable, "-c", "import signal; print('starting', flush=True); signal.pause()"]
    program = tmp_path / "parent.py"
    program.write_text(
        "import functools, triosock\n"
        "triosock.run(functools.partial(\n"
        f"    triosock.serve_workers, {worker!r}, ['unix://{files[0]}'], workers=1, control='{files[1]}'))\n"
    )
    with running(program) as parent:
        parent.wait_for("starting")
        assert all(one.exists() for one in files)
        parent.process.kill()
        await until(lambda: not any(one.exists() for one in files))


async def test_the_guard_of_socket_files_leaves_a_file_that_is_another_one(tmp_path):
    path = tmp_path / "file"
    path.touch()
    made = path.stat()
    for inode, stays in ((made.st_ino + 1, True), (made.st_ino, False)):
        await trio.run_process(
            [sys.executable, "-I", "-S", file_guard._PROGRAM, str(path), str(made.st_dev), str(inode)]
        )  # which must exit with 0
        assert path.exists() is stays


async def test_the_guard_of_socket_files_ends_with_its_block_and_removes_nothing(tmp_path):
    path = tmp_path / "file"
    path.touch()
    made = path.stat()
    async with file_guard.FileGuard([(str(path), made.st_dev, made.st_ino)]) as guard:
        os.kill(guard.id, 0)
    assert path.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(guard.id, 0)


async def test_a_service_without_a_guard_of_its_socket_files_serves_all_the_same(
    tmp_path, monkeypatch, caplog
):
    def refuse(files: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(endpoints, "FileGuard", refuse)
    async with service(control=tmp_path / "control") as workers, dial(workers) as client:
        assert await ask(client, "hello") == "HELLO"
    assert "the socket files have no guard ([Errno 11] Resource temporarily unavailable)" in caplog.text


async def test_a_guard_of_socket_files_that_is_stopped_keeps_nobody():
    with trio.fail_after(PATIENCE):
        async with file_guard.FileGuard([]) as guard:
            os.kill(guard.id, signal.SIGSTOP)


async def test_a_guard_of_socket_files_that_somebody_else_has_reaped_is_no_error():
    async with file_guard.FileGuard([]) as guard:
        os.kill(guard.id, signal.SIGKILL)
        os.waitpid(guard.id, 0)


async def test_a_worker_whose_parent_is_gone_before_it_looks_does_not_start():
    done = await trio.run_process(
        [sys.executable, "-I", "-S", triosock.workers.process._TRAMPOLINE, "1", "0", "", "true"],
        check=False,
        capture_stderr=True,
    )
    assert done.returncode == 1
    assert b"the parent has ended" in done.stderr


async def test_a_signal_of_the_service_manager_beside_the_parents_word_cuts_nobody():
    async with service(workers=1) as workers:
        client = await occupy(workers, "wait")
        # As systemd does it with KillMode=control-group: to each process.
        os.kill(processes(workers)[0], signal.SIGTERM)
        workers.drain(grace=20)
        assert await ask(client, "go on") == "waited"
        await client.aclose()
        assert (await workers.wait_closed()).clean


async def test_a_second_drain_cuts_the_delay_of_the_first_one_short(caplog):
    async with service(workers=2) as workers:
        workers.drain(delay=600)
        await trio.testing.wait_all_tasks_blocked()
        workers.drain()
        with trio.fail_after(PATIENCE):
            assert (await workers.wait_closed()).clean
    assert "exited with" not in caplog.text  # which is said of a crash


async def test_a_drain_while_the_first_workers_start_ends_them():
    async def drain_soon(scope: triosock.DrainScope) -> None:
        await trio.sleep(0.3)
        scope.drain()

    with trio.fail_after(PATIENCE / 2), triosock.DrainScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain_soon, scope)
            report = await triosock.serve_workers(
                [sys.executable, "-c", "import time; time.sleep(60)"], ["tcp://127.0.0.1:0"], workers=2
            )
    assert report.clean
    assert [name for name, _ in scope.reports] == ["workers"]


@pytest.mark.parametrize("instant", ["_has_crashed", "_make"])
async def test_a_drain_while_a_crashed_worker_is_about_to_be_replaced_starts_no_other(instant, monkeypatch):
    async with service(workers=1) as workers:
        (slot,) = workers._slots
        function = getattr(slot, instant)

        def call_and_drain(*args):
            result = function(*args)
            workers.drain(grace=1)
            return result

        monkeypatch.setattr(slot, instant, call_and_drain)
        started = []
        monkeypatch.setattr("triosock.workers.worker.Process", lambda *args: started.append(args))
        os.kill(processes(workers)[0], signal.SIGKILL)
        with trio.fail_after(PATIENCE):
            await workers.wait_closed()
        assert not started


async def test_a_drain_while_a_slot_is_opened_leaves_no_worker(monkeypatch):
    endpoints = {"dns": "udp://127.0.0.1:0"}
    async with trio.open_nursery() as nursery, service(f"{HERE}:echo_datagrams", endpoints) as workers:

        async def open_late(*args, **options):
            workers.drain(grace=1)
            await trio.testing.wait_all_tasks_blocked()
            return await triosock.open_udp_sockets(*args, **options)

        monkeypatch.setattr("triosock.workers.endpoints.open_udp_sockets", open_late)
        nursery.start_soon(workers.set_count, 3)
        with trio.fail_after(PATIENCE):
            await workers.wait_closed()
