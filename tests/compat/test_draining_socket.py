"""A drain ends the wait for another request, and never a request in its middle."""

from __future__ import annotations

import importlib.util
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.pairs import blocking_pair
from triosock.compat.bridge import thread_interrupt


@pytest.fixture
def asked() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client that has asked a question, and the socket of its request, which has read it."""
    client, request = blocking_pair()
    with client, request:
        client.sendall(b"question")
        assert request.recv(100) == b"question"
        yield client, request


@pytest.mark.parametrize("answers", ["before", "after"])
def test_a_request_that_is_answered_while_a_drain_looks_at_it_is_ended(
    monkeypatch: pytest.MonkeyPatch, answers: str, asked: Any
) -> None:
    _, request = asked
    meant = thread_interrupt.is_idle

    def look(looked: Any) -> bool:
        if answers == "before":
            request.sendall(b"answer")
        result = meant(looked)
        if answers == "after":
            request.sendall(b"answer")
        return result

    monkeypatch.setattr(thread_interrupt, "is_idle", look)
    thread_interrupt.end_idle(request)
    request.settimeout(5)
    assert request.recv(100) == b""


def test_an_answer_that_is_under_way_while_a_drain_looks_is_noticed(asked: Any) -> None:
    _, request = asked
    send = request.sendall  # of the class that it has now
    thread_interrupt.end_idle(request)
    send(b"answer")
    request.settimeout(5)
    assert request.recv(100) == b""


def test_the_rest_of_a_request_is_waited_for_though_its_beginning_came_with_the_last_answer() -> None:
    client, request = blocking_pair()
    with client, request:
        while True:
            client.sendall(b"question")
            assert request.recv(100) == b"question"
            request.sendall(b"answer")
            assert client.recv(100) == b"answer"
            client.sendall(b"another ")
            if _came_and_went_in_one_tick(request):
                break
            assert request.recv(100) == b"another "
        receive = request.recv  # of the class that it has now
        thread_interrupt.end_idle(request)
        assert receive(100) == b"another "
        request.settimeout(0.1)
        with pytest.raises(TimeoutError):
            request.recv(100)
        client.sendall(b"question")
        request.settimeout(5)
        assert request.recv(100) == b"question"
        request.sendall(b"answer")
        assert request.recv(100) == b""


def _came_and_went_in_one_tick(request: socket.socket) -> bool:
    info = request.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 216)
    sent, received = struct.unpack_from("=44xI4xI", info)
    return bool(sent == received)


@pytest.mark.parametrize("by", ["the old class", "the new class"])
def test_an_answer_that_waits_for_room_at_the_peer_is_an_answer(by: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        request, _ = listener.accept()
        with request:
            request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
            request.sendall(bytes(100_000))  # which nobody reads
            time.sleep(0.05)  # some ticks of the kernel's clock
            client.sendall(b"question")
            assert request.recv(100) == b"question"
            send = request.sendall
            thread_interrupt.end_idle(request)
            (send if by == "the old class" else request.sendall)(b"answer")
            request.settimeout(5)
            assert request.recv(100) == b""


def test_where_there_is_no_ioctl_unread_bytes_are_noticed_too(
    monkeypatch: pytest.MonkeyPatch, asked: tuple[socket.socket, socket.socket]
) -> None:
    for name in ("fcntl", "termios"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(sys, "platform", "win32")
    found = importlib.util.find_spec("triosock.compat.bridge.tcp_state")
    assert found is not None
    assert found.loader is not None
    elsewhere = importlib.util.module_from_spec(found)
    found.loader.exec_module(elsewhere)
    client, request = asked
    request.settimeout(60)
    assert not elsewhere.has_unread(request)
    client.send(b"x")
    assert elsewhere.has_unread(request)
    request.recv(1)
    client.close()
    assert not elsewhere.has_unread(request)  # the end is no byte
    request.close()
    assert not elsewhere.has_unread(request)
