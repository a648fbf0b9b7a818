"""Forks, interpreter exit, other event loops: in programs of their own."""

from __future__ import annotations

import os
import sys

import pytest

import triosock.compat
from tests.differential.programs import run
from tests.programs import python

# Each of these starts several interpreters.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("daemon_threads", [True, False])
@pytest.mark.parametrize("daemon_serving", [True, False])
def test_the_end_of_the_interpreter(daemon_serving: bool, daemon_threads: bool) -> None:
    out = run(
        f"""
        import atexit
        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = {daemon_threads}
        server = Server(("127.0.0.1", 0), Echo)
        serving = threading.Thread(target=server.serve_forever, daemon={daemon_serving})
        serving.start()
        client = socket.create_connection(server.server_address)
        client.sendall(b"x\\n")
        say(client.recv(10))
        time.sleep(0.05)
        atexit.register(say, "at exit")
        def later():
            time.sleep(0.2)
            say("later")
            client.close()
            if not {daemon_serving}:
                server.shutdown()
                server.server_close()
        if not ({daemon_serving} and {daemon_threads}):
            threading.Thread(target=later).start()
        """
    )
    assert out[-1] == 0
    assert out[0].startswith("b'X\\n'")


def test_a_daemon_is_ended_in_the_middle_of_its_waits_without_a_word() -> None:
    out = run(
        """
        servers = []
        for kind in (socketserver.TCPServer, socketserver.ThreadingTCPServer, socketserver.ForkingTCPServer):
            server = kind(("127.0.0.1", 0), Echo)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            servers.append(server)
        time.sleep(0.1)
        say("over")
        for server in servers:
            server.socket.detach()
        """
    )
    assert out == ["over\n", "", 0]


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer"])
def test_forked_after_it_was_made_and_served_in_the_child(kind: str) -> None:
    out = run(
        f"""
        server = socketserver.{kind}(("127.0.0.1", 0), Echo)
        pid = os.fork()
        if not pid:
            # A handler that raised could be ignored by the interpreter: between a fork and its end run
            # callbacks (logging has some) whose exceptions go nowhere.
            def stop(number, frame):
                server._BaseServer__shutdown_request = True
            signal.signal(signal.SIGTERM, stop)
            server.serve_forever(0.05)
            server.socket.close()
            sys.exit(0)
        say(ask(server))
        os.kill(pid, signal.SIGTERM)
        say(os.waitpid(pid, 0)[1])
        server.server_close()
        """
    )
    assert out == ["b'X\\n'\n0\n", "", 0]


@pytest.mark.parametrize("where", ["handler thread", "main thread"])
def test_forked_while_serving_both_processes_work(where: str) -> None:
    out = run(
        f"""
        # The child begins a server of its own and uses it; the parent goes on with its first one.
        def child():
            with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server, serving(server):
                time.sleep(0.05)
                good = ask(server) == b"X\\n"
            os._exit(0 if good else 1)

        class Fork(socketserver.BaseRequestHandler):
            def handle(self):
                if os.fork() == 0:
                    child()
                self.request.sendall(b"forked")

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Fork) as server, serving(server):
            time.sleep(0.05)
            if {where!r} == "main thread":
                if os.fork() == 0:
                    child()
            else:
                ask(server)
            say(os.wait()[1])
            time.sleep(0.05)
            say(ask(server))
            say(os.wait()[1])
        say(threading.active_count())
        """
    )
    assert out == ["0\nb'forked'\n0\n1\n", "", 0]


def test_multiprocessing_serves_what_the_parent_made() -> None:
    out = run(
        """
        import multiprocessing
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
        process = multiprocessing.get_context("fork").Process(target=server.serve_forever)
        process.start()
        say(ask(server))
        process.terminate()
        process.join()
        say(process.exitcode)
        server.server_close()
        """
    )
    assert out == ["b'X\\n'\n-15\n", "", 0]


def test_children_are_reaped_bounded_and_waited_for() -> None:
    run(
        """
        class Server(socketserver.ForkingTCPServer):
            max_children = 2
        class Once(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(self.rfile.readline().upper())
        with Server(("127.0.0.1", 0), Once) as server, serving(server, 0.05):
            for _ in range(5):
                say(ask(server), len(server.active_children or ()) <= 2)
            while server.active_children:
                time.sleep(0.01)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            say("no children")
        """
    )


@pytest.mark.parametrize("end", ["return", "raise ValueError(1)", "raise SystemExit(5)", "sys.exit()"])
def test_the_exit_status_of_a_child(end: str) -> None:
    run(
        f"""
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                {end}
        import atexit
        atexit.register(say, "at exit")
        with socketserver.ForkingTCPServer(("127.0.0.1", 0), Handler) as server:
            with socket.create_connection(server.server_address) as client:
                server.handle_request()
                say(client.recv(1))
            pid, = server.active_children
            say(os.waitpid(pid, 0)[1])
            server.collect_children()
            say(server.active_children)
        """
    )


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the warning came with 3.12")
@pytest.mark.parametrize("kind", ["TCPServer", "ForkingTCPServer", "ForkingUDPServer"])
def test_a_process_with_one_thread_stays_one(kind: str) -> None:
    """The interpreter itself says so: it warns of a fork beside other threads, and here that is an error."""
    out = run(
        f"""
        import warnings
        warnings.simplefilter("error")
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                pid = os.fork()
                if not pid:
                    os._exit(0)
                os.waitpid(pid, 0)
        class Server(socketserver.{kind}):
            ticks = 0
            def service_actions(self):
                super().service_actions()
                self.ticks += 1
                if self.ticks == 3:
                    raise SystemExit(threading.active_count())
        server = Server(("127.0.0.1", 0), Handler)
        client = socket.socket(type=server.socket_type)
        client.connect(server.server_address)
        client.send(b"x")
        with client, server:
            server.serve_forever(0.1)
        """
    )
    assert out == ["", "", 1]


def test_asyncio_programs_may_block_their_loop_with_it() -> None:
    run(
        """
        import asyncio
        async def main():
            server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
            threading.Timer(0.1, server.shutdown).start()
            server.serve_forever(0.02)
            server.server_close()
            say("served")
        asyncio.run(main(), debug=False)
        """
    )


def test_so_may_trio_programs() -> None:
    run(
        """
        import trio
        async def main():
            for kind in (socketserver.TCPServer, socketserver.ThreadingTCPServer):
                server = kind(("127.0.0.1", 0), Echo)
                answers = []
                def use():
                    answers.append(ask(server))
                    server.shutdown()
                user = threading.Thread(target=use)
                user.start()
                server.serve_forever(0.02)
                user.join()
                server.server_close()
                say(answers)
        trio.run(main)
        """
    )


def test_the_module_path_is_the_projects() -> None:
    # Programs above import triosock.compat by name: it must be this checkout.
    done = python("-c", "import triosock.compat; print(triosock.compat.__file__)", check=True)
    assert os.path.samefile(done.stdout.strip(), triosock.compat.__file__)
