"""The upper bound for any framework: a loop over select.epoll with non-blocking sockets.

It accepts until EAGAIN, receives into one buffer, and asks for EPOLLOUT only while a reply is stuck.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from .common import BACKLOG, BLOB, CHUNK, HOST, MEBIBYTE, arguments, ready

Bytes = bytes | memoryview
Answer = Callable[[memoryview], Bytes]


def echo() -> Answer:
    return lambda data: data


def lines() -> Answer:
    kept = b""

    def answer(data: memoryview) -> bytes:
        nonlocal kept
        whole, newline, kept = (kept + bytes(data)).rpartition(b"\n")
        return b"".join(line + b"\n" for line in (whole + newline).split(b"\n")[:-1])

    return answer


def download() -> Answer:
    return lambda data: BLOB * len(data)


def upload() -> Answer:
    received = 0

    def answer(data: memoryview) -> bytes:
        nonlocal received
        whole, received = divmod(received + len(data), MEBIBYTE)
        return b"k" * whole

    return answer


ANSWERS: dict[str, Callable[[], Answer]] = {
    "echo": echo,
    "lines": lines,
    "download": download,
    "upload": upload,
}


def serve_streams(make_answer: Callable[[], Answer]) -> None:
    listener = socket.create_server((HOST, 0), backlog=BACKLOG)
    listener.setblocking(False)
    door = listener.fileno()
    epoll = select.epoll()
    epoll.register(door, select.EPOLLIN)
    connections: dict[int, tuple[socket.socket, Answer]] = {}
    stuck: dict[int, memoryview] = {}
    buffer = memoryview(bytearray(1 << 18))
    ready(listener.getsockname()[1])
    while True:
        for fd, event in epoll.poll():
            if fd == door:
                accept_all(listener, epoll, connections, make_answer)
                continue
            sock, answer = connections[fd]
            try:
                if event & select.EPOLLOUT:
                    send_more(sock, epoll, stuck)
                    continue
                received = sock.recv_into(buffer)
                if received:
                    send(sock, answer(buffer[:received]), epoll, stuck)
                    continue
            except OSError:
                pass  # the peer went away
            del connections[fd]
            stuck.pop(fd, None)
            sock.close()


def send(sock: socket.socket, reply: Bytes, epoll: select.epoll, stuck: dict[int, memoryview]) -> None:
    try:
        sent = sock.send(reply) if reply else 0
    except BlockingIOError:
        sent = 0
    if sent < len(reply):
        stuck[sock.fileno()] = memoryview(bytes(reply[sent:]))  # a copy: the buffer is used again
        epoll.modify(sock, select.EPOLLOUT)


def send_more(sock: socket.socket, epoll: select.epoll, stuck: dict[int, memoryview]) -> None:
    fd = sock.fileno()
    stuck[fd] = stuck[fd][sock.send(stuck[fd]) :]
    if not stuck[fd]:
        del stuck[fd]
        epoll.modify(fd, select.EPOLLIN)


def accept_all(
    listener: socket.socket,
    epoll: select.epoll,
    connections: dict[int, tuple[socket.socket, Answer]],
    make_answer: Callable[[], Answer],
) -> None:
    while True:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections[sock.fileno()] = (sock, make_answer())
        epoll.register(sock.fileno(), select.EPOLLIN)


def serve_datagrams() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, 0))
    ready(sock.getsockname()[1])
    while True:
        data, peer = sock.recvfrom(CHUNK)
        sock.sendto(data, peer)


if __name__ == "__main__":
    kind, _, _ = arguments()
    if kind == "udp":
        serve_datagrams()
    else:
        serve_streams(ANSWERS[kind])
