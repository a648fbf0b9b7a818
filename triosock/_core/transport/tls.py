"""TLS: the handshake in the connection's own task, and a wire that encrypts.

Rules of this file:

1. No client waits for the handshake of another: the accept loop does no TLS, and `Timeouts.handshake` bounds
   each one.
2. On a socket, OpenSSL reads and writes the descriptor itself (`ssl.SSLSocket`, non-blocking); on any other
   stream trio's SSLStream does it in memory. Handlers see no difference.
3. A stream that ends without the peer's close_notify was truncated: BrokenResourceError, RFC 8446, 6.1, since
   an attacker could have done it. With `https_compatible` it counts as an end, for protocols that mark the
   end of a message themselves: many HTTP clients never send a close_notify.
4. A TLS stream cannot be ended in one direction: OpenSSL does not read once it has sent its close_notify.
"""

from __future__ import annotations

import ssl
import traceback
from typing import Any, Final, TypeAlias, final

import attrs
import trio
from trio.lowlevel import checkpoint, wait_readable, wait_writable

from ..model.errors import HandshakeFailed
from ..registry.registry import NEVER
from .certificate_check import PeerCertificate
from .certificates import Certificates
from .epoll import EpollReader
from .interface import BytesLike, check_receive_size
from .server_name import note_server_names, noted_server_name
from .socket import SocketWire
from .stream_adapter import StreamWire

#: A send that ended here can go on with the same bytes.
_IN_RECORD: Final = "an earlier send_all ended inside a TLS record"


@final
@attrs.frozen(kw_only=True)
class TlsInfo:
    """What was agreed on in a handshake.

    `version` ("TLSv1.3"), `cipher` (OpenSSL's name), `alpn` (the protocol chosen by ALPN, or None), `group`
    (that of the key agreement, such as "X25519MLKEM768"; None before Python 3.15, and where OpenSSL is older
    than 3.2),
    `server_name` (on a server: what the client asked for by SNI, as an A-label, or None; on a client: the
    name that was checked), `peer_certificate` (as `ssl.SSLSocket.getpeercert()` gives it: a dict, empty
    if the certificate was not verified, None if there is none) and `peer_certificate_der` (its bytes, or
    None).
    """

    version: str
    cipher: str
    alpn: str | None
    server_name: str | None
    peer_certificate: PeerCertificate | None
    peer_certificate_der: bytes | None
    group: str | None = None


#: What a server's side takes for its TLS.
ServerTls: TypeAlias = ssl.SSLContext | Certificates


def check_server_tls(tls: object) -> ServerTls:
    """Return `tls` if a server's side can take it; TypeError or ValueError otherwise."""
    return tls if isinstance(tls, Certificates) else check_context(tls, server_side=True)


def check_context(context: object, *, server_side: bool) -> ssl.SSLContext:
    """Return `context` if it is an ssl.SSLContext; TypeError, saying how to make one, or ValueError if it is
    for the other side.
    """
    if isinstance(context, Certificates):
        raise TypeError("Certificates are for the server's side; a client's takes an ssl.SSLContext")
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(
            "tls must be an ssl.SSLContext, such as ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) "
            f"with its certificate loaded, or a server's triosock.Certificates, not {context!r}"
        )
    if context.protocol is (ssl.PROTOCOL_TLS_CLIENT if server_side else ssl.PROTOCOL_TLS_SERVER):
        side, purpose = ("servers", "CLIENT_AUTH") if server_side else ("clients", "SERVER_AUTH")
        raise ValueError(
            f"tls must be a context for {side}, as ssl.create_default_context(ssl.Purpose.{purpose}) makes it"
        )
    return context


@final
class TlsWire(SocketWire):
    """A socket with TLS on it."""

    can_half_close = False
    _sock: ssl.SSLSocket

    __slots__ = ("_server_name",)

    async def handshake(self) -> None:
        """Agree with the peer. Raises: HandshakeFailed. Cancelled, it leaves a wire that can only be
        closed.
        """
        await checkpoint()
        # Code that closes the connection meanwhile must notify trio.
        self._sending = True
        try:
            with noted_server_name() as names:
                await self._do_handshake()
        except trio.Cancelled:
            self.note_wait_end(idle=False)  # a handshake is a wait for the peer
            raise
        finally:
            self._sending = False
        self._server_name = names[-1] if names else None

    async def _do_handshake(self) -> None:
        while True:
            try:
                return self._sock.do_handshake()
            except ssl.SSLWantReadError:
                wait = wait_readable
            except ssl.SSLWantWriteError:
                wait = wait_writable
            except (OSError, ValueError) as error:
                # ssl.SSLError is an OSError; ValueError is how the module says that the peer has hung up
                # before it began.
                raise HandshakeFailed(f"TLS handshake: {error}") from error
            # A waiter for a handshake place checks by this whether this peer keeps the server waiting.
            self.entry.receive_since = self.entry.now()
            try:
                await wait(self._fd)
            finally:
                self.entry.receive_since = NEVER

    async def receive_some(
        self, max_bytes: int | None = None, *, idle: bool = False, iterating: bool = False
    ) -> bytes:
        """Return what is there, up to `max_bytes`; wait if there is nothing; b"", or StopAsyncIteration,
        after the peer's close_notify.
        """
        size = check_receive_size(max_bytes)
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this connection")
        await checkpoint()
        while True:
            if self.is_closed:
                raise trio.ClosedResourceError("this connection is closed")
            # If these bytes are half a record, OpenSSL takes them, and nobody sees that a request has begun.
            idle = idle and not super().has_input()
            try:
                data = self._sock.recv(size)
            except ssl.SSLWantReadError:
                await self._wait_input(idle)
            except ssl.SSLWantWriteError:
                # The peer wants new keys (RFC 8446, 4.6.3), and the answer finds the socket full.
                await self._wait_output()
            except OSError as error:
                self._fail(error)
            else:
                if iterating and not data:
                    raise StopAsyncIteration
                self.received += len(data)
                return data

    async def wait_request(self) -> bytes | None:
        """Wait, idle, for input, and return it: what is in the socket may be no more than a close_notify, or
        half a record, and what is decrypted is in the socket no more.
        """
        return await self.receive_some(idle=True)

    def has_input(self) -> bool:
        """Whether decrypted bytes are at hand, or encrypted ones in the socket."""
        return self._sock.pending() > 0 or super().has_input()

    def _send(self, data: BytesLike) -> int:
        """Give OpenSSL, which takes one record (16 KiB) at a time, what it takes of `data` now."""
        view = memoryview(data)
        done = 0
        while done < len(view):
            try:
                done += self._sock.send(view[done:])
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                # OpenSSL may hold the beginning of a record; what follows must be those same bytes again.
                self.break_off(_IN_RECORD)
                return done
            except OSError as error:
                self._fail(error)
        if self._send_broken is _IN_RECORD:
            self._send_broken = None
        return done

    def _send_end(self) -> None:
        if self._send_broken is None:
            try:
                self._sock.unwrap()
            except (OSError, ValueError):
                pass  # our close_notify is sent; that the peer's has not come yet is no error here
        super()._send_end()

    def info(self, server_name: str | None) -> TlsInfo:
        """Return what was agreed on. `server_name`: that of a client's side."""
        return _info(self._sock, self._server_name or server_name)


def _info(source: Any, server_name: str | None) -> TlsInfo:
    cipher = source.cipher()
    return TlsInfo(
        version=source.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn=source.selected_alpn_protocol(),
        server_name=server_name,
        peer_certificate=source.getpeercert(),
        peer_certificate_der=source.getpeercert(binary_form=True),
        group=_group(source),
    )


def _group(source: object) -> str | None:
    """Return the name of the group of the key agreement, where the ssl module can tell it (3.15)."""
    ask = getattr(source, "group", None)
    if ask is None:
        return None
    try:
        return ask() or None
    except NotImplementedError:  # built with an OpenSSL before 3.2, which has no call for it
        return None


@final
class TlsStreamWire(StreamWire):
    """A trio stream with TLS on it."""

    _stream: trio.SSLStream[trio.abc.Stream]

    __slots__ = ("_server_name",)

    async def handshake(self) -> None:
        """Agree with the peer. Raises: HandshakeFailed. Cancelled, it leaves a wire that can only be
        closed.
        """
        self.entry.receive_since = self.entry.now()  # nearly all of it is a wait for the peer
        try:
            with noted_server_name() as names:
                await self._stream.do_handshake()
        except trio.Cancelled:
            self.note_wait_end(idle=False)
            raise
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise HandshakeFailed(f"TLS handshake: {error.__cause__ or error}") from error
        finally:
            self.entry.receive_since = NEVER
        self._server_name = names[-1] if names else None

    def info(self, server_name: str | None) -> TlsInfo:
        """Return what was agreed on. `server_name`: that of a client's side."""
        return _info(self._stream, self._server_name or server_name)


def encrypt(
    wire: SocketWire | StreamWire,
    context: ssl.SSLContext,
    server_side: bool,
    server_hostname: str | None,
    https_compatible: bool,
) -> TlsWire | TlsStreamWire:
    """Return a new wire over the transport of the old one, which must not be in use, and is closed from then
    on.

    The handshake is yet to be done. Raises: HandshakeFailed if the peer has hung up already.
    """
    if server_side:
        note_server_names(context)
    encrypted: TlsWire | TlsStreamWire
    if isinstance(wire, SocketWire):
        sock, epoll_reader = _wrap(wire, context, server_side, server_hostname, https_compatible)
        encrypted = TlsWire(sock, wire.entry, epoll_reader)
    else:
        stream = trio.SSLStream(
            wire.transport,
            context,
            server_side=server_side,
            server_hostname=server_hostname,
            https_compatible=https_compatible,
        )
        encrypted = TlsStreamWire(stream, wire.entry)
    encrypted.received, encrypted.sent = wire.received, wire.sent
    if wire.is_interrupted:
        encrypted.interrupt()
    wire.is_closed = True
    if isinstance(wire, SocketWire):
        wire.tell_gone()  # a task in `wait_peer_gone` goes on waiting with the new wire
    return encrypted


def _wrap(
    wire: SocketWire,
    context: ssl.SSLContext,
    server_side: bool,
    server_hostname: str | None,
    https_compatible: bool,
) -> tuple[ssl.SSLSocket, EpollReader | None]:
    """Move the wire's descriptor into a TLS socket: no moment with two owners, or with none."""
    transport = wire.transport
    epoll_reader = wire.release()
    try:
        sock = context.wrap_socket(
            transport,
            server_side=server_side,
            server_hostname=server_hostname,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=https_compatible,
        )
    except Exception as error:  # whatever it is: the descriptor must not be lost
        if transport.fileno() < 0:
            _close_what_was_begun(error)
            wire.is_closed = True
            wire.tell_gone()
        if not isinstance(error, OSError):
            raise  # of the arguments
        raise HandshakeFailed(f"TLS handshake: {error}") from error
    return sock, epoll_reader


def _close_what_was_begun(error: BaseException) -> None:
    # If the peer has reset the connection, the module raises after it has taken the descriptor over, and
    # not every version closes it. Nobody but the calls that failed knows the object.
    for frame, _ in traceback.walk_tb(error.__traceback__):
        begun = frame.f_locals.get("self")
        if isinstance(begun, ssl.SSLSocket):
            begun.close()
