"""The limit, which no framework can be faster than: a loop over select.epoll with non-blocking sockets.

It accepts until EAGAIN, keeps one bound method per descriptor in a list, and asks for EPOLLOUT only while a
reply is stuck.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from .common import BACKLOG, BLOB, CHUNK, HOST, MEBIBYTE, arguments, ready

Answer = Callable[[bytes], bytes]


def echo() -> Answer:
    return bytes


def lines() -> Answer:
    kept = b""

    def answer(data: bytes) -> bytes:
        nonlocal kept
        whole, newline, kept = (kept + data).rpartition(b"\n")
        return b"".join(line + b"\n" for line in (whole + newline).split(b"\n")[:-1])

    return answer


def download() -> Answer:
    return lambda data: BLOB * len(data)


def upload() -> Answer:
    received = 0

    def answer(data: bytes) -> bytes:
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
    ready(listener.getsockname()[1])
    while True:
        for fd, event in epoll.poll():
            if fd == door:
                accept_all(listener, epoll, connections, make_answer)
                continue
            sock, answer = connections[fd]
            try:
                if event & select.EPOLLOUT:
                    rest = stuck.pop(fd)
                else:
                    data = sock.recv(CHUNK)
                    if not data:
                        raise ConnectionResetError
                    rest = memoryview(answer(data))
                sent = sock.send(rest) if rest else 0
            except BlockingIOError:
                sent = 0
            except OSError:
                del connections[fd]
                stuck.pop(fd, None)
                sock.close()
                continue
            if sent < len(rest):
                stuck[fd] = rest[sent:]
                epoll.modify(fd, select.EPOLLOUT)
            elif event & select.EPOLLOUT:
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
