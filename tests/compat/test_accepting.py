"""The sockets that `get_request()` gives are those that `socket.accept()` would give, and a program that has
put its own in the place of that gets its own.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.programs import printed
from triosock import compat


@pytest.fixture(params=[socket.AF_INET, socket.AF_UNIX])
def server(request: Any, tmp_path: Any) -> Iterator[compat.TCPServer]:
    kind, address = (
        (compat.TCPServer, ("127.0.0.1", 0))
        if request.param == socket.AF_INET
        else (compat.UnixStreamServer, str(tmp_path / "socket"))
    )
    with kind(address, compat.BaseRequestHandler) as made:
        yield made


def accept_by(server: compat.TCPServer, how: Any) -> tuple[Any, ...]:
    """What there is to know of a socket that was accepted this way, and of its address."""
    with socket.socket(server.address_family) as client:
        client.settimeout(10)  # whatever the default is
        client.connect(server.server_address)
        select.select([server.socket], [], [], 10)  # the last step of the handshake comes after connect()
        accepted, address = how()
        with accepted:
            return (
                *(type(accepted), accepted.family, accepted.type, accepted.proto),
                *(accepted.gettimeout(), accepted.getblocking(), accepted.get_inheritable()),
                address == (client.getsockname() or address),
            )


@pytest.mark.parametrize("default", [None, 0.0, 7.0])
@pytest.mark.parametrize("timeout", [None, 0.0, 5.0])
def test_an_accepted_socket_is_as_the_standard_librarys(
    server: compat.TCPServer, timeout: float | None, default: float | None
) -> None:
    before = socket.getdefaulttimeout()
    server.socket.settimeout(timeout)
    try:
        socket.setdefaulttimeout(default)
        ours = accept_by(server, server.get_request)
        assert ours == accept_by(server, server.socket.accept)
    finally:
        socket.setdefaulttimeout(before)
    assert ours[0] is socket.socket
    assert ours[-1]


def test_who_replaces_the_method_accept_is_asked(
    server: compat.TCPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket.socket, "accept", lambda self: ("their own", self))
    assert server.get_request() == ("their own", server.socket)


def test_who_replaces_the_class_socket_gets_sockets_of_it(
    server: compat.TCPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(socket.socket):
        pass

    monkeypatch.setattr(socket, "socket", Own)
    assert accept_by(server, server.get_request)[0] is Own


def test_a_socket_of_another_kind_is_asked_by_its_own_accept(server: compat.TCPServer) -> None:
    class Other:
        def accept(self) -> tuple[str, str]:
            return "request", "address"

    listener, server.socket = server.socket, Other()
    try:
        assert server.get_request() == ("request", "address")
    finally:
        server.socket = listener


def test_who_has_replaced_the_method_before_is_asked_too() -> None:
    program = """
import socket
real = socket.socket.accept
def accept(self):
    print("asked")
    return real(self)
socket.socket.accept = accept
from triosock import compat
with compat.TCPServer(("127.0.0.1", 0), compat.BaseRequestHandler) as server:
    with socket.create_connection(server.server_address):
        request, _ = server.get_request()
        request.close()
"""
    assert printed("-c", program) == "asked\n"
