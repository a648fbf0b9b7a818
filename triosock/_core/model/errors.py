"""The error classes, by who can act: the caller, the peer, or the machine.

Rules of this file:

1. A wrong argument is a `TypeError` or a `ValueError`, raised at the call that made the mistake. No class
   here stands for it.
2. Errors of the *stream* are trio's classes, so that code written for any trio stream works here too:
   `trio.ClosedResourceError` (you closed it), `trio.BrokenResourceError` (the peer went away),
   `trio.BusyResourceError` (two of your tasks at once).
3. The classes below are for what trio has no class for. The parent of each says who can act::

    TriosockError                 abstract
    ├── PeerError                 abstract: the other side broke a rule; that ends its connection, no more
    │   ├── FrameTooLarge         more bytes than `max_bytes` without the end of a line or frame
    │   ├── FrameMalformed        bytes that are no frame at all
    │   ├── Incomplete            the stream ended in the middle of something; `.partial` has the beginning
    │   ├── ProxyHeaderError      no PROXY protocol header, or a wrong one
    │   ├── HandshakeFailed       TLS could not be agreed on
    │   ├── MemberTooSlow         it does not take what a Broadcast has for it
    │   ├── ClientNotRecognized   the TLS client's certificate is for none of the names that it may have
    │   ├── NoReturnAddress       a datagram came from a Unix socket without a name: nothing can be sent back
    │   ├── RateExceeded          requests came faster than `Limits` allows; `.retry_after` says when
    │   └── RequestTimedOut       also trio.TooSlowError: the time for `conn.request()` was over
    └── MachineError              abstract: the operating system refused, or has no good files
        ├── AddressUnavailable    also OSError: it cannot be listened on; the text says why and what to do
        └── CertificateRefused    files of a certificate cannot be used; the text says which, and why
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
    """The operating system refused what was asked of it, or what it holds cannot be used."""


class FrameTooLarge(PeerError):
    """A line or frame went over its limit, `max_bytes`; the stream cannot be read on in step."""

    def __init__(self, what: str, max_bytes: int) -> None:
        # The arguments and not the text, so that it can be pickled and copied, here as below.
        super().__init__(what, max_bytes)
        self.what = what
        self.max_bytes = max_bytes

    def __str__(self) -> str:
        return f"the peer sent a {self.what} of more than {self.max_bytes} bytes (max_bytes={self.max_bytes})"


class FrameMalformed(PeerError):
    """The bytes at hand cannot be the beginning of a frame; the text says what was wanted."""


class Incomplete(PeerError):
    """The stream ended where more was due. `partial` holds the bytes that did come."""

    def __init__(self, what: str, partial: bytes) -> None:
        super().__init__(what, partial)
        self.what = what
        self.partial = partial

    def __str__(self) -> str:
        return f"the peer ended the stream inside {self.what}, after {len(self.partial)} bytes of it"


class ProxyHeaderError(PeerError):
    """A PROXY protocol header was due and did not come, or is not one."""


class HandshakeFailed(PeerError):
    """The TLS handshake failed; `__cause__` is what the ssl module said."""


class MemberTooSlow(PeerError):
    """A member of a `Broadcast` was cut: its queue of `buffer` values was full."""

    def __init__(self, buffer: float) -> None:
        super().__init__(buffer)
        self.buffer = buffer

    def __str__(self) -> str:
        return f"the member is too slow: {self.buffer:g} values were waiting for it"


class ClientNotRecognized(PeerError):
    """A TLS client has shown no certificate, or one that is for none of the names that it may have; see
    `triosock.identity`.
    """


class NoReturnAddress(PeerError):
    """A datagram came from a Unix socket that has no name: there is nowhere to send a reply to."""


class RateExceeded(PeerError):
    """A request came faster than a rate of `Limits` allows, with ``request_overflow="reject"``.

    `limit` is the option that says so, `retry_after` in how many seconds one would be allowed.
    """

    def __init__(self, limit: str, retry_after: float) -> None:
        super().__init__(limit, retry_after)
        self.limit = limit
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"the peer sends requests too fast ({self.limit}): the next one in {self.retry_after:.3g} s"


class RequestTimedOut(PeerError, trio.TooSlowError):
    """The deadline of an `async with conn.request():` block was over before its end."""


class AddressUnavailable(MachineError, OSError):
    """The address cannot be listened on: in use, not ours, too long, or not allowed. `errno` is the
    system's.
    """

    def __init__(self, errno: int | None, message: str) -> None:
        super().__init__(errno, message)


class CertificateRefused(MachineError):
    """The files of a certificate cannot be used: they cannot be read, are not whole, do not belong together,
    or are out of date. `__cause__` is what the ssl module or the system said, if it said anything.
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
