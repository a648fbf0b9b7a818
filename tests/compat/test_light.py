"""Imports are deferred: a forking server pays for each page of its process with every fork."""

from __future__ import annotations

import textwrap

import pytest

from tests.programs import printed

pytestmark = pytest.mark.slow  # each starts an interpreter

PRELUDE = """
import contextlib, os, socket, sys, threading
def loaded():
    return {"trio", "attr", "ssl", "ctypes", "inspect"} & set(sys.modules)
before = loaded()
from triosock import compat
import triosock.compat as socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline()
        self.wfile.write(b" ".join(name.encode() for name in sorted(loaded() - before)) + b"\\n")
def ask(server):
    with socket.create_connection(server.server_address, 20) as client:
        client.sendall(b"x\\n")
        return client.makefile("rb").read()
@contextlib.contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
"""


def program(text: str) -> str:
    return printed("-W", "ignore::DeprecationWarning", "-c", PRELUDE + textwrap.dedent(text))


def test_a_forking_server_never_imports_trio_and_neither_do_its_children() -> None:
    said = program(
        """
        with socketserver.ForkingTCPServer(("127.0.0.1", 0), Echo) as server, serving(server):
            print(ask(server), ask(server))
        print(sorted(loaded() - before))
        """
    )
    assert said == "b'\\n' b'\\n'\n[]\n"


def test_others_import_it_when_their_name_is_asked_for_and_nothing_later() -> None:
    said = program(
        """
        assert "trio" not in sys.modules
        kind = socketserver.ThreadingTCPServer
        socket.getaddrinfo("127.0.0.1", 0)  # the standard library's own late import
        made = set(sys.modules)
        assert "trio" in made
        with kind(("127.0.0.1", 0), Echo) as server, serving(server):
            ask(server)
        print(sorted(set(sys.modules) - made))
        """
    )
    assert said == "[]\n"


def test_a_server_without_threads_waits_without_trio_until_somebody_asks() -> None:
    said = program(
        """
        with socketserver.TCPServer(("127.0.0.1", 0), Echo) as server:
            for _ in range(2):
                with serving(server):
                    ask(server)
                    print("trio" in sys.modules, threading.active_count())
                socketserver.ThreadingMixIn
        """
    )
    assert said.splitlines()[0] == "False 2"
    assert said.splitlines()[1].startswith("True")


def test_the_rest_comes_when_it_is_asked_for() -> None:
    said = program(
        """
        import triosock
        print(hasattr(triosock, "nonsense"), hasattr(compat, "nonsense"), sorted(loaded() - before))
        print({"serve_tcp", "__version__"} <= set(dir(triosock)), {"drain", "TCPServer"} <= set(dir(compat)))
        print(compat.drain.__module__, "trio" in sys.modules, triosock.serve_tcp.__name__)
        """
    )
    assert said == "False False []\nTrue True\ntriosock.compat True serve_tcp\n"


@pytest.mark.parametrize(
    "part", ["cli", "dtls", "testing", "compat.control.policy", "compat.bridge.supervisor"]
)
def test_whatever_serves_has_the_observers_that_are_there_by_default(part: str) -> None:
    if part == "dtls":
        pytest.importorskip("OpenSSL")
    said = program(
        f"""
        import triosock.{part}
        from triosock._core.model.emitter import default_observers
        print([one.__name__ for one in default_observers])
        """
    )
    assert said == "['LogObserver']\n"
