"""The client's side of TLS, and the work of handshakes: connect, handshake, one exchange, close.

Parameters: `in_flight`, how many of them at once, and `resume`, whether each handshake after the first ones
resumes an earlier session. The certificate is this run's own and is not verified: that is the client's cost.

A server of TLS 1.3 sends the tickets of a session after the handshake (RFC 8446, 4.6.1), so a client knows
them when it has its answer. That a session was resumed is checked for each handshake.
"""

from __future__ import annotations

import select
import socket
import ssl
from time import perf_counter

from .job import STALLED_AFTER, Job, Tally

MESSAGE = b"x" * 64


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """One connection: `step` goes as far as it can, and returns what to wait for, or None when done."""

    def __init__(
        self, address: tuple[str, int], context: ssl.SSLContext, session: ssl.SSLSession | None = None
    ) -> None:
        self.began = perf_counter()
        plain = socket.socket()
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.connect_ex(address)
        self.plain, self.context, self.session = plain, context, session
        self.secure: ssl.SSLSocket | None = None
        self.sent = False

    def step(self) -> int | None:
        try:
            if self.secure is None:
                self.secure = self.context.wrap_socket(
                    self.plain, do_handshake_on_connect=False, session=self.session
                )
            if not self.sent:
                self.secure.do_handshake()
                self.secure.send(MESSAGE)
                self.sent = True
            if len(self.secure.recv(65536)) != len(MESSAGE):
                raise ConnectionError("the server closed after the handshake, or answered in pieces")
        except ssl.SSLWantReadError:
            return select.EPOLLIN
        except ssl.SSLWantWriteError:
            return select.EPOLLOUT
        if self.session is not None and not self.secure.session_reused:
            raise ConnectionError("the server did not resume the session")
        self.session = self.secure.session
        self.secure.close()
        return None


class Handshakes:
    def __init__(self, job: Job) -> None:
        self.address, self.in_flight = job.address, job.params["in_flight"]
        self.resume: bool = job.params.get("resume", False)
        self.session: ssl.SSLSession | None = None
        self.context = client_context()
        self.epoll = select.epoll()
        self.clients: dict[int, Client] = {}

    def drive(self, stop_at: float, limit: float) -> Tally:
        latencies: list[float] = []
        for _ in range(self.in_flight - len(self.clients)):
            self.begin()
        while perf_counter() < stop_at and len(latencies) < limit:
            ready = self.epoll.poll(STALLED_AFTER)
            if not ready:
                raise TimeoutError(f"no progress of any handshake in {STALLED_AFTER:.0f} s")
            for fd, _ in ready:
                client = self.clients[fd]
                wanted = client.step()
                if wanted is not None:
                    self.epoll.modify(fd, wanted)
                    continue
                del self.clients[fd]  # its close took the descriptor out of the epoll set
                latencies.append(perf_counter() - client.began)
                self.session = client.session if self.resume else None
                self.begin()
        return Tally(len(latencies), latencies)

    def begin(self) -> None:
        client = Client(self.address, self.context, self.session)
        fd = client.plain.fileno()
        self.clients[fd] = client
        self.epoll.register(fd, select.EPOLLOUT)
