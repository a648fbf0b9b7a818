"""Once a class was asked for, its servers import nothing: not when they are made, serve, or end."""

from __future__ import annotations

import textwrap

import pytest

from tests.differential.programs import PRELUDE
from tests.programs import printed

KINDS = [
    "TCPServer",
    "ThreadingTCPServer",
    "ForkingTCPServer",
    "UnixStreamServer",
    "ThreadingUnixStreamServer",
    "UDPServer",
    "ThreadingUDPServer",
    "ForkingUDPServer",
    "UnixDatagramServer",
    "ThreadingUnixDatagramServer",
]
STREAMS = ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer"]

#: What a program asks for while its classes are made, and with its servers.
WAYS = {
    "plain": ("pass", "pass", "server.shutdown()"),
    "once": ("pass", "pass", "pass"),
    "drain": ("drain = socketserver.drain", "pass", "drain(server, grace=1)"),
    "policy": (
        "POLICY = socketserver.Policy(request_timeout=60, max_requests=9)",
        "trio_policy = POLICY",
        "server.shutdown()",
    ),
    "green": ("POLICY = socketserver.Policy(mode='green')", "trio_policy = POLICY", "server.shutdown()"),
    "tls": ("theirs, ours = make_contexts()", "pass", "server.shutdown()"),
}
CONTEXTS = """
def make_contexts():
    import ssl, subprocess
    folder = tempfile.mkdtemp()
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout k -out c"
    subprocess.run(make.split(), check=True, stderr=subprocess.DEVNULL, cwd=folder)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(folder + "/c", folder + "/k")
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    theirs.check_hostname, theirs.verify_mode = False, ssl.CERT_NONE
    return theirs, ours
"""


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        *((kind, way) for kind in KINDS for way in ("plain", "once")),
        *((kind, way) for kind in STREAMS for way in ("drain", "policy", "tls")),
        *(("ThreadingTCPServer", "green"), ("ThreadingUDPServer", "green")),
    ],
)
def test_once_a_class_is_there_its_servers_import_nothing(kind: str, way: str) -> None:
    before, attribute, end = WAYS[way]
    code = (
        PRELUDE.format(module="triosock.compat")
        + CONTEXTS
        + textwrap.dedent(
            f"""
        import builtins, tempfile, traceback
        "x".encode("idna")
        KIND = socketserver.{kind}
        udp = "UDP" in KIND.__name__ or "Datagram" in KIND.__name__
        address = tempfile.mktemp() if "Unix" in KIND.__name__ else ("127.0.0.1", 0)
        own = tempfile.mktemp()
        {before}

        class Datagram(socketserver.DatagramRequestHandler):
            def handle(self):
                self.wfile.write(b"X")

        class Line(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(self.rfile.readline().upper())

        class Server(KIND):
            {attribute}
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
            with Server(address, Datagram if udp else Line) as server:
                if {way!r} == "tls":
                    server.socket = ours.wrap_socket(server.socket, server_side=True)
                loop = server.handle_request if {way!r} == "once" else server.serve_forever
                serving = threading.Thread(target=loop)
                serving.start()
                with socket.socket(server.address_family, server.socket_type) as client:
                    client.settimeout(20)
                    if udp and "Unix" in KIND.__name__:
                        client.bind(own)
                    client.connect(server.server_address)
                    if {way!r} == "tls":
                        client = theirs.wrap_socket(client)
                    client.send(b"x\\n")
                    answer = client.recv(10)
                    client.close()
                time.sleep(0.1)
                {end}
                serving.join()
        finally:
            builtins.__import__ = real
            sys.path[:], sys.meta_path[:] = path, hooks
        say(answer, imported)
        """
        )
    )
    answer = "b'X'" if "UDP" in kind or "Datagram" in kind else r"b'X\n'"
    # Without the warning that forks beside threads get, and what it imports.
    assert printed("-W", "ignore::DeprecationWarning", "-c", code) == f"{answer} []\n"
