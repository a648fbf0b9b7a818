"""The examples of HTTP and WebSocket, against real clients: curl, and wsproto's client."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time

import pytest

pytest.importorskip("hypercorn")
pytest.importorskip("wsproto")

import trustme
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    Request,
    TextMessage,
)

from tests.health.client import get
from tests.programs import PATIENCE, ROOT, dial, server_program

needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")

ASGI = "examples/web/asgi.py"
CHAT = "examples/web/chat.py"


def curl(*arguments, check=True):
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "20", *map(str, arguments)], capture_output=True, text=True, timeout=30
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


# HTTP


def ready(program):
    return f"http://127.0.0.1:{program.port('triosock health')}/ready"


@needs_curl
def test_http_1_and_2_by_one_port():
    with server_program(ASGI, 0, 0) as program:
        url = f"http://localhost:{program.port('web')}"
        said = curl(f"{url}/one", f"{url}/two", "-w", "%{num_connects}\n")
        assert said == "/one for 127.0.0.1 by HTTP/1.1\n1\n/two for 127.0.0.1 by HTTP/1.1\n0\n"
        assert curl("--http2-prior-knowledge", f"{url}/one") == "/one for 127.0.0.1 by HTTP/2\n"
        assert curl("--http2", f"{url}/one") == "/one for 127.0.0.1 by HTTP/2\n"  # an upgrade
        assert curl("-o", "/dev/null", "-w", "%{http_code}", ready(program)) == "200"


def test_a_drain_lets_a_request_finish_and_says_503_before():
    with server_program(ASGI, 0, 0) as program:
        port, health = program.port("web"), program.port("triosock health")
        with dial(port) as idle:
            assert idle.ask(b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n") == b"HTTP/1.1 200 \r\n"
            program.signal()
            program.wait_for("will drain in 2 s")
            with dial(port) as slow:
                began = time.monotonic()
                slow.say(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                code, why = get(health)
                assert (code, "drain" in why) == (503, True)
                assert slow.rest().endswith(b"/slow for 127.0.0.1 by HTTP/1.1\n")
            assert time.monotonic() - began >= 1
            assert idle.rest().endswith(b"/one for 127.0.0.1 by HTTP/1.1\n")
    assert "0 failed, 0 left, 0 cancelled" in program.output


ASGI_WITH = """
import functools, logging, ssl, sys
sys.path.insert(0, {path!r})
import asgi, triosock
logging.basicConfig(level=logging.INFO, format="%(message)s")
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
if len(sys.argv) > 1:
    context.load_cert_chain(sys.argv[1])
    context.set_alpn_protocols(["h2", "http/1.1"])
options = dict(tls=context) if len(sys.argv) > 1 else dict(proxy=True)
triosock.run(asgi.serve_asgi, asgi.app, 0, host="127.0.0.1", name="web", **options)
"""


@pytest.fixture
def program_with(tmp_path):
    path = tmp_path / "with.py"
    path.write_text(ASGI_WITH.format(path=str(ROOT / "examples/web")))
    return path


@needs_curl
def test_a_proxy_names_the_client(program_with):
    with server_program(program_with) as program:
        with dial(program.port("web")) as client:
            client.say(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\nGET /one HTTP/1.1\r\nHost: x\r\n")
            client.say(b"Connection: close\r\n\r\n")
            assert client.rest().endswith(b"/one for 192.0.2.7 by HTTP/1.1\n")
        url = f"http://127.0.0.1:{program.port('web')}/one"
        assert curl("--haproxy-protocol", url) == "/one for 127.0.0.1 by HTTP/1.1\n"


@needs_curl
def test_tls_agrees_on_http_2(program_with, tmp_path):
    authority, pem, root = trustme.CA(), tmp_path / "cert.pem", tmp_path / "ca.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
    authority.cert_pem.write_to_path(root)
    with server_program(program_with, pem) as program:
        url = f"https://127.0.0.1:{program.port('web')}/one"
        assert curl("--cacert", root, url) == "/one for 127.0.0.1 by HTTP/2\n"
        assert curl("--cacert", root, "--http1.1", url) == "/one for 127.0.0.1 by HTTP/1.1\n"


def test_half_a_request_is_no_idle_wait_and_its_rest_is_answered_in_a_drain():
    with server_program(ASGI, 0, 0) as program, dial(program.port("web")) as client:
        client.say(b"GET /half HTTP/1.1\r\nHo")
        assert get(program.port("triosock health")) == (200, "ready")  # who came before has been read by then
        program.signal()
        program.wait_for("drains: 1 connections, 0 of them idle")
        client.say(b"st: x\r\n\r\n")
        assert client.rest().endswith(b"/half for 127.0.0.1 by HTTP/1.1\n")


def test_what_is_no_http_gets_400_and_a_client_that_goes_costs_nothing():
    with server_program(ASGI, 0, 0) as program:
        with dial(program.port("web")) as client:
            client.say(b"\x00\x01\x02\r\n\r\n")
            assert client.rest().startswith(b"HTTP/1.1 400")
        with dial(program.port("web")) as client:
            client.say(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        with dial(program.port("web")) as client:
            assert client.ask(b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n") == b"HTTP/1.1 200 \r\n"
    assert "0 failed" in program.output


# WebSocket


class Client:
    """wsproto's client side on a blocking socket."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.ws = WSConnection(ConnectionType.CLIENT)
        self._events = []
        self.send(Request(host="localhost", target="/"))

    def send(self, event):
        self.sock.sendall(self.ws.send(event))

    def event(self):
        while not self._events:
            self.ws.receive_data(self.sock.recv(65536) or None)
            self._events += self.ws.events()
        return self._events.pop(0)

    def text(self):
        event = self.event()
        assert isinstance(event, TextMessage), event
        return event.data


@contextlib.contextmanager
def joined(program):
    client = Client(program.port("chat"))
    with client.sock:
        assert isinstance(client.event(), AcceptConnection)
        yield client


def test_what_one_says_all_hear():
    with server_program(CHAT, 0) as program, joined(program) as ada:
        assert ada.text() == "* 1 is here, 1 in all"
        with joined(program) as bob:
            assert ada.text() == bob.text() == "* 2 is here, 2 in all"
            bob.send(TextMessage("hel", message_finished=False))
            bob.send(TextMessage("lo"))
            assert ada.text() == bob.text() == "2: hello"
            bob.send(Ping(b"?"))
            assert bob.event() == Pong(b"?")
            bob.send(CloseConnection(code=1000))
            assert bob.event().code == 1000
        assert ada.text() == "* 2 has left"


def test_a_drain_closes_with_1001_after_all_that_was_said():
    with server_program(CHAT, 0) as program, joined(program) as ada, joined(program) as bob:
        bob.send(TextMessage("last words"))
        assert [ada.text() for _ in range(3)][-1] == "2: last words"
        program.signal()
        for client in (ada, bob):
            while isinstance(event := client.event(), TextMessage):
                pass
            assert isinstance(event, CloseConnection)
            assert event.code == 1001
            client.send(event.response())
            assert client.sock.recv(10) == b""
    assert "2 finished, 0 failed, 0 left, 0 cancelled, 0 refused" in program.output


def test_a_member_that_does_not_read_delays_nobody_and_is_cut():
    with server_program(CHAT, 0) as program, joined(program) as stuck, joined(program) as ada:
        assert ada.text() == "* 2 is here, 2 in all"
        for _ in range(4000):  # 16 MB
            ada.send(TextMessage("x" * 4000))
            if (text := ada.text()) == "* 1 has left":
                break
            assert len(text) == 4003
        assert text == "* 1 has left"
        with pytest.raises(ConnectionResetError):
            while stuck.sock.recv(1 << 20):
                pass


@pytest.mark.parametrize("event", [TextMessage("x" * 5000), BytesMessage(b"x")])
def test_messages_that_are_too_long_or_no_text(event):
    with server_program(CHAT, 0) as program, joined(program) as client:
        client.text()
        client.send(event)
        if isinstance(event, TextMessage):
            assert client.event().code == 1009
        client.send(CloseConnection(code=1000))
    assert "0 failed" in program.output


@needs_curl
def test_who_speaks_no_websocket_is_told_so():
    with server_program(CHAT, 0) as program:
        url = f"http://127.0.0.1:{program.port('chat')}/"
        assert curl("-w", "%{http_code}", url) == "400"
        with dial(program.port("chat")) as client:
            assert client.ask(b"hello\r\n\r\n") == b"HTTP/1.1 400 \r\n"
    assert "0 failed" in program.output
