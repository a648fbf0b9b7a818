"""Handshakes outside the accept loop."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import Any

import pytest
import trustme

from tests.compat.conftest import read_all
from tests.programs import printed
from triosock import compat
from triosock.compat.stdlib import deferred_tls


def test_a_client_that_says_nothing_stops_nobody(start_tls: Any, contexts: Any, capsys: Any) -> None:
    def answer(request: Any, *args: Any) -> None:
        request.sendall(b"%r" % request.do_handshake_on_connect)

    running = start_tls("ThreadingTCPServer", answer, daemon_threads=True)
    with running.dial(), running.dial() as plain:
        with contexts[1].wrap_socket(plain, server_hostname="localhost") as client:
            assert client.recv(10) == b"True"
    assert capsys.readouterr().err == ""


FORKING = """
import os, socket, ssl, subprocess, sys
from triosock import compat
from triosock.compat.stdlib import deferred_tls

deferred_tls.TIMEOUT = 2  # a child has a copy of the silent client, too, so that only this ends it
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])

class Handler(compat.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"%r" % self.request.do_handshake_on_connect)

class Server(compat.ForkingTCPServer):
    def service_actions(self):
        super().service_actions()
        self._BaseServer__shutdown_request = client.poll() is not None

with Server(("127.0.0.1", 0), Handler) as server:
    server.socket = context.wrap_socket(server.socket, server_side=True)
    client = subprocess.Popen([sys.executable, "-c", sys.argv[2], str(server.server_address[1])])
    server.serve_forever(0.05)
"""
CLIENTS = """
import socket, ssl, sys
address = "127.0.0.1", int(sys.argv[1])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with socket.create_connection(address), socket.create_connection(address, 10) as plain:
    with context.wrap_socket(plain) as client:
        print(client.recv(10).decode(), flush=True)
"""


def test_a_client_that_says_nothing_stops_no_forking_server_that_has_its_process_for_itself(
    tmp_path: Any,
) -> None:
    # With the handshake in the accept the silent client would stop the other one, which gives up after 10 s.
    certificate = trustme.CA().issue_cert("localhost")
    pem = tmp_path / "pem"
    pem.write_bytes(certificate.private_key_pem.bytes() + certificate.cert_chain_pems[0].bytes())
    assert printed("-c", FORKING, pem, CLIENTS) == "True\n"


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("others", [0, 1])
def test_a_forked_child_does_handshakes_only_if_nobody_can_hold_a_lock(
    contexts: Any, monkeypatch: Any, others: int
) -> None:
    monkeypatch.setattr(deferred_tls, "_active_count", lambda: 1 + others)
    with compat.ForkingTCPServer(("127.0.0.1", 0), print) as server:
        server.socket = contexts[0].wrap_socket(server.socket, server_side=True)
        with socket.create_connection(server.server_address) as plain:
            plain.sendall(b"no TLS\r\n\r\n")
            if others:
                with pytest.raises(ssl.SSLError):
                    server.get_request()
            else:
                request, _ = server.get_request()
                assert request.version() is None
                request.close()


def test_one_that_fails_is_dropped_without_a_word(start_tls: Any, capsys: Any) -> None:
    running = start_tls("ThreadingTCPServer", print)
    with contextlib.suppress(ConnectionResetError):  # as after the standard library's accept()
        assert b"HTTP" not in read_all(running.dial(b"GET / HTTP/1.0\r\n\r\n"))
    running.end()
    assert capsys.readouterr() == ("", "")


def test_it_has_a_deadline(start_tls: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(deferred_tls, "TIMEOUT", 0.05)
    assert read_all(start_tls("ThreadingTCPServer", print).dial()) == b""


def overridden(name: str) -> dict[str, Any]:
    def method(self: Any, *args: Any) -> Any:
        return getattr(compat.ThreadingTCPServer, name)(self, *args)

    return {name: method}


@pytest.mark.parametrize("name", ["process_request", "process_request_thread", "get_request"])
def test_whoever_has_a_method_of_their_own_on_the_way_gets_a_finished_socket(
    start_tls: Any, contexts: Any, name: str
) -> None:
    seen = []

    def verify(self: Any, request: Any, address: Any) -> bool:
        seen.append(request.version())
        return True

    running = start_tls("ThreadingTCPServer", lambda *args: None, verify_request=verify, **overridden(name))
    with running.dial() as plain, contexts[1].wrap_socket(plain, server_hostname="localhost") as client:
        client.recv(10)
    assert seen[0].startswith("TLS")
    assert threading.active_count() >= 1
