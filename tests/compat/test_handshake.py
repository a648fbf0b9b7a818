"""Handshakes outside the accept loop."""

from __future__ import annotations

import contextlib
import ssl
import threading
from typing import Any

import pytest
import trustme

from triosock import compat
from triosock.compat import handshake


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.fixture
def start_tls(start: Any, contexts: Any) -> Any:
    def activate(server: Any) -> None:
        compat.TCPServer.server_activate(server)
        server.socket = contexts[0].wrap_socket(server.socket, server_side=True)

    return lambda kind, handler, **attributes: start(kind, handler, server_activate=activate, **attributes)


@pytest.mark.parametrize("kind", ["ThreadingTCPServer", "ForkingTCPServer"])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_client_that_says_nothing_stops_nobody(
    start_tls: Any, contexts: Any, kind: str, capsys: Any, monkeypatch: Any
) -> None:
    # Long enough for the talkative one; a child process has a copy of the silent client, too, so that only
    # this ends it.
    monkeypatch.setattr(handshake, "TIMEOUT", 2)

    def answer(request: Any, *args: Any) -> None:
        request.sendall(b"%r" % request.do_handshake_on_connect)

    running = start_tls(kind, answer, daemon_threads=True)
    with running.dial(), running.dial() as plain:
        with contexts[1].wrap_socket(plain, server_hostname="localhost") as client:
            assert client.recv(10) == b"True"
    assert capsys.readouterr().err == ""


def test_one_that_fails_is_dropped_without_a_word(start_tls: Any, capsys: Any, read_all: Any) -> None:
    running = start_tls("ThreadingTCPServer", print)
    with contextlib.suppress(ConnectionResetError):  # as after the standard library's accept()
        assert b"HTTP" not in read_all(running.dial(b"GET / HTTP/1.0\r\n\r\n"))
    running.server.shutdown()
    running.server.server_close()
    assert capsys.readouterr() == ("", "")


def test_it_has_a_deadline(start_tls: Any, monkeypatch: Any, read_all: Any) -> None:
    monkeypatch.setattr(handshake, "TIMEOUT", 0.05)
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
