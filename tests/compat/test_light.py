"""What is imported when: a forking server pays for each page of its process with every fork."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow  # each starts an interpreter

PRELUDE = """
import os, socket, sys, threading
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
"""


def program(text: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + textwrap.dedent(text)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_forking_server_never_imports_trio_and_neither_do_its_children() -> None:
    said = program(
        """
        with socketserver.ForkingTCPServer(("127.0.0.1", 0), Echo) as server:
            serving = threading.Thread(target=server.serve_forever)
            serving.start()
            print(ask(server), ask(server))
            server.shutdown()
            serving.join()
        print(sorted(loaded() - before))
        """
    )
    assert said == "b'\\n' b'\\n'\n[]\n"


def test_others_import_it_when_they_are_made_and_not_in_the_thread_that_serves() -> None:
    # A fork in the middle of an import leaves the child a module that is locked for ever.
    said = program(
        """
        print(sorted(loaded() - before))
        with socketserver.TCPServer(("127.0.0.1", 0), Echo) as server:
            made = set(sys.modules)
            assert "trio" in made
            serving = threading.Thread(target=server.serve_forever)
            serving.start()
            ask(server)
            server.shutdown()
            serving.join()
        print(sorted(name for name in set(sys.modules) - made if name.startswith(("trio", "attr"))))
        """
    )
    assert said == "[]\n[]\n"


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


@pytest.mark.parametrize("part", ["cli", "dtls", "testing", "compat.policy", "compat.supervision"])
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
