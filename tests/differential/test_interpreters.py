"""Interpreters started in other ways: optimised, isolated, audited, and within another one."""

from __future__ import annotations

import textwrap

import pytest

from tests.differential.programs import PRELUDE
from tests.programs import python

# Each of these starts several interpreters.
pytestmark = pytest.mark.slow

SERVE = """
class Server(socketserver.ThreadingTCPServer):
    def handle_error(self, *args):
        say("error", type(sys.exc_info()[1]).__name__)
class Handler(socketserver.StreamRequestHandler):
    \"\"\"What it says.\"\"\"
    def handle(self):
        line = self.rfile.readline()
        assert line != b"wrong\\n", "only where assertions count"
        self.wfile.write(line.upper())
with Server(("127.0.0.1", 0), Handler) as server, serving(server):
    say(ask(server), ask(server, b"wrong\\n"), Handler.__doc__)
say("end")
"""


def both(program: str, *flags: str) -> str:
    """Run a program with each module under these flags; assert that both print the same, and return it."""
    said = []
    for module in ("socketserver", "triosock.compat"):
        done = python(*flags, "-c", PRELUDE.format(module=module) + textwrap.dedent(program))
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[1] == said[0]
    return said[0]


@pytest.mark.parametrize("flag", ["-I", "-B", "-E", "-s", "-u"])
def test_flags_that_change_nothing_here(flag: str) -> None:
    assert both(SERVE, flag).endswith("end\n")


def test_without_assertions_and_docstrings() -> None:
    assert "error AssertionError" in both(SERVE)
    assert "error" not in both(SERVE, "-O")
    assert both(SERVE, "-OO").splitlines()[0].endswith("None")


def test_while_imports_are_timed() -> None:
    assert both(SERVE, "-X", "importtime").endswith("end\n")


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "UDPServer"])
def test_an_audit_hook_sees_the_same_of_the_programs_sockets(kind: str) -> None:
    seen = both(
        f"""
        class Line(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(self.rfile.readline())
        class Datagram(socketserver.DatagramRequestHandler):
            def handle(self):
                self.wfile.write(b"x")
        events = []
        kind = socketserver.{kind}
        udp = "UDP" in kind.__name__
        main = threading.get_ident()
        def hook(event, arguments):
            # In the program's own thread; what waits elsewhere is nobody's request.
            if event.startswith("socket.") and threading.get_ident() == main:
                events.append(event)
        sys.addaudithook(hook)
        with kind(("127.0.0.1", 0), Datagram if udp else Line) as server:
            client = socket.socket(server.address_family, server.socket_type)
            client.connect(server.server_address)
            client.send(b"x\\n")
            server.handle_request()
            client.recv(10)
            client.close()
        print(events)
        """
    )
    assert "socket.bind" in seen


INSIDE = """
    import socket
    import {module} as socketserver
    class Line(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(self.rfile.readline().upper())
    with socketserver.TCPServer(("127.0.0.1", 0), Line) as server:
        with socket.create_connection(server.server_address, 10) as client:
            client.sendall(b"x\\n")
            server.handle_request()
            print(client.recv(10), flush=True)
    print("trio" in __import__("sys").modules, flush=True)
"""


@pytest.mark.parametrize("module", ["socketserver", "triosock.compat"])
def test_in_another_interpreter_of_the_process(module: str) -> None:
    program = f"""
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    inner = interpreters.create()
    failed = interpreters.run_string(inner, {textwrap.dedent(INSIDE.format(module=module))!r})
    assert failed is None, failed
    interpreters.destroy(inner)
    """
    done = python("-c", textwrap.dedent(program))
    assert (done.returncode, done.stdout) == (0, "b'X\\n'\nFalse\n"), done.stderr
