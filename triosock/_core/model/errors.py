"""The error classes, by who can act: the caller, the peer, or the machine.

Rules of this file:

1. A wrong argument is a `TypeError` or a `ValueError`, raised at the call that made the mistake. No class
   here stands for it.
2. Errors of the *stream* are trio's classes, so that code written for any trio stream works here too:
   `trio.ClosedResourceError` (you closed it), `trio.BrokenResourceError` (the peer went away),
   `trio.BusyResourceError` (two of your tasks at once).
3. The classes below are for what trio has no class for. The parent of each says who can act::

    TriosockError                 abstract
    ├── PeerError                 abstract: the peer broke a rule, which ends only its connection
    │   ├── FrameTooLarge         more bytes than `max_bytes` without the end of a line or frame
    │   ├── FrameMalformed        bytes that are no frame at all
    │   ├── Incomplete            the stream ended in the middle of something; `.partial` has the beginning
    │   ├── ProxyHeaderError      no PROXY protocol header, or a wrong one
    │   ├── HandshakeFailed       TLS could not be agreed on
    │   ├── MemberTooSlow         the queue of a member of a Broadcast was full
    │   ├── ClientNotRecognized   the certificate of the TLS client has none of the expected names
    │   ├── NoReturnAddress       a datagram came from a Unix socket without a name: nothing can be sent back
    │   ├── RateExceeded          requests came faster than `Limits` allows; `.retry_after` says when
    │   └── RequestTimedOut       also trio.TooSlowError: the deadline of `conn.request()` has passed
    └── MachineError              abstract: the operating system refused, or files cannot be used
        ├── AddressUnavailable    also OSError: it cannot be listened on; the text has the reason
        └── CertificateRefused    files of a certificate cannot be used; the text names them, and the reason
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from typing import Self


class TriosockError(Exception):
    """The root of all errors that triosock itself defines. Abstract: only its leaves are raised."""

    def __init__(self, *args: object) -> None:
        if type(self) in _ABSTRACT:
            raise TypeError(f"{type(self).__name__} is abstract: raise one of its subclasses")
        super().__init__(*args)


class PeerError(TriosockError):
    """The peer broke a rule of the protocol. Left uncaught it ends that connection, and no other."""

    #: The connection whose peer it was, if a connection raised it: a handler may have others than its own.
    _connection: object = None

    def _of(self, connection: object) -> Self:
        """Note whose peer it was."""
        self._connection = connection
        return self


class MachineError(TriosockError):
    """The operating system refused a request, or files on this machine cannot be used."""


class FrameTooLarge(PeerError):
    """A line or frame has more than `max_bytes`; the beginning of the next one is not known."""

    def __init__(self, what: str, max_bytes: int) -> None:
        # The arguments and not the text, so that it can be pickled and copied, here as below.
        super().__init__(what, max_bytes)
        self.what = what
        self.max_bytes = max_bytes

    def __str__(self) -> str:
        return f"the peer sent a {self.what} of more than {self.max_bytes} bytes (max_bytes={self.max_bytes})"


class FrameMalformed(PeerError):
    """The received bytes cannot be the beginning of a frame; the text says what was expected."""


class Incomplete(PeerError):
    """The stream ended before a message was complete. `partial` has the bytes that were received of it."""

    def __init__(self, what: str, partial: bytes) -> None:
        super().__init__(what, partial)
        self.what = what
        self.partial = partial

    def __str__(self) -> str:
        return f"the peer ended the stream inside {self.what}, after {len(self.partial)} bytes of it"


class ProxyHeaderError(PeerError):
    """The expected PROXY protocol header did not come, or is malformed."""


class HandshakeFailed(PeerError):
    """The TLS handshake failed; `__cause__` is the error of the ssl module, if there is one."""


class MemberTooSlow(PeerError):
    """A member of a `Broadcast` was cut: its queue of `buffer` values was full."""

    def __init__(self, buffer: float) -> None:
        super().__init__(buffer)
        self.buffer = buffer

    def __str__(self) -> str:
        return f"the member is too slow: {self.buffer:g} values were waiting for it"


class ClientNotRecognized(PeerError):
    """A TLS client sent no certificate, or one with none of the expected names: `triosock.identity`."""


class NoReturnAddress(PeerError):
    """A datagram came from a Unix socket without a name, so no reply can be sent to it."""


class RateExceeded(PeerError):
    """A request came faster than a rate of `Limits` allows, with ``request_overflow="reject"``.

    `limit` is the name of that option, `retry_after` the seconds after which a request would be allowed.
    """

    def __init__(self, limit: str, retry_after: float) -> None:
        super().__init__(limit, retry_after)
        self.limit = limit
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"the peer sends requests too fast ({self.limit}): the next one in {self.retry_after:.3g} s"


class RequestTimedOut(PeerError, trio.TooSlowError):
    """The deadline of an `async with conn.request():` block passed before the end of the block."""


class AddressUnavailable(MachineError, OSError):
    """The address cannot be listened on: it is in use, not one of this machine, too long, or not allowed.
    `errno` is that of the system call.
    """

    def __init__(self, errno: int | None, message: str) -> None:
        super().__init__(errno, message)


class CertificateRefused(MachineError):
    """The files of a certificate cannot be used: they cannot be read, are incomplete, do not belong together,
    or have expired or are not valid yet. `__cause__` is the error of the ssl module or the system, if there
    is one.
    """


_ABSTRACT = frozenset({TriosockError, PeerError, MachineError})


def _name_the_public_place() -> None:
    """Have a traceback show where an error can be imported from. Other classes keep the module in which
    tools find their source and resolve their annotations.
    """
    for one in globals().values():
        if isinstance(one, type) and issubclass(one, TriosockError):
            one.__module__ = "triosock"


_name_the_public_place()
