"""Once a class was asked for, its servers import nothing: not when they are made, serve, or end."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.differential.programs import PRELUDE

KINDS = [
    "TCPServer",
    "ThreadingTCPServer",
    "ForkingTCPServer",
    "UnixStreamServer",
    "ThreadingUnixStreamServer",
]


@pytest.mark.parametrize("kind", KINDS)
def test_once_a_class_is_there_its_servers_import_nothing(kind: str) -> None:
    code = textwrap.dedent(
        f"""
        import builtins, tempfile, traceback
        "x".encode("idna")
        KIND = socketserver.{kind}
        address = tempfile.mktemp() if "Unix" in KIND.__name__ else ("127.0.0.1", 0)

        class Datagram(socketserver.DatagramRequestHandler):
            def handle(self):
                self.wfile.write(b"X")

        class Line(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(self.rfile.readline().upper())

        class Server(KIND):
            def service_actions(self):
                super().service_actions()
            def handle_error(self, *args):
                say("error", type(sys.exc_info()[1]).__name__)

        imported = []
        real = builtins.__import__
        def forbidden(name, *args, **kwargs):
            imported.append(name)
            raise ImportError("no import here: " + name)
        class Hook:
            @staticmethod
            def find_spec(name, path=None, target=None):
                imported.append(name)
                raise ImportError("no import here: " + name)
        path, hooks = sys.path[:], sys.meta_path[:]
        builtins.__import__ = forbidden
        sys.path[:], sys.meta_path[:] = [], [Hook]
        try:
            udp = "UDP" in KIND.__name__
            with Server(address, Datagram if udp else Line) as server:
                serving = threading.Thread(target=server.serve_forever, args=(0.05,))
                serving.start()
                with socket.socket(server.address_family, server.socket_type) as client:
                    client.settimeout(5)
                    client.connect(server.server_address)
                    client.send(b"x\\n")
                    answer = client.recv(10)
                time.sleep(0.1)
                server.shutdown()
                serving.join()
        finally:
            builtins.__import__ = real
            sys.path[:], sys.meta_path[:] = path, hooks
        say(answer, imported)
        """
    )
    done = subprocess.run(
        # Without the warning that forks beside threads get, and what it imports.
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            PRELUDE.format(module="triosock.compat") + code,
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    answer = "b'X'" if "UDP" in kind else r"b'X\n'"
    assert (done.stdout, done.stderr) == (f"{answer} []\n", "")
