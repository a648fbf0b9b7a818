"""Framers, which find the end of each message in a buffer: pure functions without input or output.

Rules of this file:

1. A framer takes a whole frame from the beginning of the buffer, or nothing: an incomplete frame stays as it
   is.
2. A framer looks at each byte a bounded number of times, even if a peer sends the bytes in small pieces.
3. A framer raises as soon as the frame must exceed the limit, before the memory is used.

Every framer has `split(buffer) -> bytes | None` (the next payload, or None if more bytes are needed;
FrameTooLarge and FrameMalformed are the peer's fault) and `join(payload) -> bytes`, its inverse for sending.
"""

from __future__ import annotations

from typing import Literal, Protocol, final, runtime_checkable

import attrs

from ..model.checks import T, check_int, one_of, positive
from ..model.errors import FrameMalformed, FrameTooLarge

#: What one line or frame may have by default: the limit of asyncio's StreamReader.
DEFAULT_MAX_BYTES = 65_536


@final
class Buffer:
    """Received bytes, not taken yet. `scanned` is how far the search for the delimiter `sought` came."""

    __slots__ = ("data", "scanned", "sought")

    def __init__(self, data: bytes = b"") -> None:
        self.data: bytearray = bytearray(data)
        self.scanned: int = 0
        self.sought: bytes = b""

    def __len__(self) -> int:
        return len(self.data)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Append received bytes."""
        self.data += data

    def take(self, size: int) -> bytes:
        """Remove and return the first `size` bytes, or all if there are fewer."""
        data = self.data
        taken = bytes(data[:size])
        del data[:size]  # cheap: a bytearray only moves its start
        self.scanned = 0
        return taken

    def holds(self, delimiter: bytes) -> bool:
        """Whether `take_through` would find this delimiter. What was found is not searched for again."""
        if delimiter != self.sought:
            self.sought = delimiter
            self.scanned = 0
        index = self.data.find(delimiter, self.scanned)
        self.scanned = index if index >= 0 else max(0, len(self.data) - len(delimiter) + 1)
        return index >= 0

    def take_through(self, delimiter: bytes, max_bytes: int, what: str) -> bytes | None:
        """Remove and return everything up to and including `delimiter`; None if it is not there yet.

        Raises: FrameTooLarge, naming `what`, if the result has or must have more than `max_bytes`, the
        delimiter included.
        """
        data = self.data
        if delimiter != self.sought:
            # Bytes searched in vain for one delimiter may contain another.
            self.sought = delimiter
            self.scanned = 0
        index = data.find(delimiter, self.scanned)
        if index >= 0:
            size = index + len(delimiter)
            if size > max_bytes:
                raise FrameTooLarge(what, max_bytes)
            taken = bytes(data[:size])
            del data[:size]
            self.scanned = 0
            return taken
        # The delimiter may have begun with the last bytes that are here.
        self.scanned = max(0, len(data) - len(delimiter) + 1)
        if len(data) >= max_bytes:
            raise FrameTooLarge(what, max_bytes)
        return None


@runtime_checkable
class Framer(Protocol):
    """What `conn.frames()` takes: see the rules at the top of this file."""

    def split(self, buffer: Buffer, /) -> bytes | None:
        """Take the next payload off the buffer, or return None and leave the buffer as it is."""
        ...

    def join(self, payload: bytes, /) -> bytes:
        """Return the bytes that send this payload."""
        ...


def check_framer(value: object) -> Framer:
    """Return `value` if it is a framer object; TypeError otherwise."""
    # bytes and str have methods of these names too.
    if not isinstance(value, Framer) or isinstance(value, (type, bytes, bytearray, str)):
        raise TypeError(
            f"framer must have methods split and join, such as triosock.LengthPrefixed(4), not {value!r}"
        )
    return value


def check_max_bytes(value: object) -> int:
    """Return `value` if it is an int from 1 on; TypeError or ValueError otherwise."""
    return check_int(value, "max_bytes")


def check_delimiter(value: object) -> bytes:
    """Return `value` if it is a non-empty bytes object; TypeError or ValueError otherwise."""
    if not isinstance(value, bytes):
        hint = " (a str needs .encode())" if isinstance(value, str) else ""
        raise TypeError(f"delimiter must be bytes, not {value!r}{hint}")
    if not value:
        raise ValueError("delimiter must have at least one byte")
    return value


def _delimiter(instance: object, attribute: attrs.Attribute[T], value: T) -> None:
    check_delimiter(value)


def _check_width(instance: object, attribute: attrs.Attribute[T], value: T) -> None:
    check_int(value, "width", 1, 8, besides=" bytes")


def _check_payload(payload: object) -> bytes:
    if not isinstance(payload, (bytes, bytearray, memoryview)):
        raise TypeError(f"payload must be bytes, not {payload!r}")
    return bytes(payload)


def _check_size(payload: bytes, max_bytes: int) -> bytes:
    if len(payload) > max_bytes:
        raise ValueError(f"payload has {len(payload)} bytes, more than max_bytes={max_bytes} allows")
    return payload


@final
@attrs.frozen
class Delimited:
    """Payloads that end with a delimiter, which is not part of them. `max_bytes` (1 on) counts the delimiter
    too.
    """

    delimiter: bytes = attrs.field(validator=_delimiter)
    max_bytes: int = attrs.field(default=DEFAULT_MAX_BYTES, validator=positive, kw_only=True)

    def split(self, buffer: Buffer, /) -> bytes | None:
        """Take the next payload off the buffer, without its delimiter."""
        taken = buffer.take_through(self.delimiter, self.max_bytes, "frame")
        return None if taken is None else taken[: -len(self.delimiter)]

    def join(self, payload: bytes, /) -> bytes:
        """Return payload and delimiter. Raises: ValueError if the payload contains the delimiter, or is too
        large.
        """
        payload = _check_payload(payload)
        framed = payload + self.delimiter
        if framed.find(self.delimiter) < len(payload):
            # b"x-" before b"--" would end one byte early.
            raise ValueError(f"payload contains the delimiter {self.delimiter!r}, or ends with half of one")
        return _check_size(framed, self.max_bytes)


@final
@attrs.frozen
class FixedSize:
    """Payloads of `size` bytes each (1 on)."""

    size: int = attrs.field(validator=positive)

    def split(self, buffer: Buffer, /) -> bytes | None:
        """Take the next `size` bytes off the buffer."""
        return buffer.take(self.size) if len(buffer) >= self.size else None

    def join(self, payload: bytes, /) -> bytes:
        """Return the payload. Raises: ValueError if it has another size."""
        payload = _check_payload(payload)
        if len(payload) != self.size:
            raise ValueError(f"payload must have {self.size} bytes, not {len(payload)}")
        return payload


@final
@attrs.frozen
class LengthPrefixed:
    """Payloads behind their length as an unsigned int of `width` bytes (1 to 8), big-endian unless
    `byteorder` says "little".
    """

    width: int = attrs.field(default=4, validator=_check_width)
    byteorder: Literal["big", "little"] = attrs.field(
        default="big", validator=one_of("big", "little"), kw_only=True
    )
    max_bytes: int = attrs.field(default=DEFAULT_MAX_BYTES, validator=positive, kw_only=True)

    def split(self, buffer: Buffer, /) -> bytes | None:
        """Take the next payload off the buffer. Raises: FrameTooLarge as soon as the prefix says so."""
        if len(buffer) < self.width:
            return None
        size = int.from_bytes(buffer.data[: self.width], self.byteorder)
        if size > self.max_bytes:
            raise FrameTooLarge("frame", self.max_bytes)
        if len(buffer) < self.width + size:
            return None
        return buffer.take(self.width + size)[self.width :]

    def join(self, payload: bytes, /) -> bytes:
        """Return prefix and payload. Raises: ValueError if the payload is too large for max_bytes or the
        prefix.
        """
        payload = _check_size(_check_payload(payload), min(self.max_bytes, 256**self.width - 1))
        return len(payload).to_bytes(self.width, self.byteorder) + payload


@final
@attrs.frozen
class Netstrings:
    """Payloads written as ``5:hello,`` (D. J. Bernstein, 1997): a decimal length without leading zeros,
    colon, bytes, comma.
    """

    max_bytes: int = attrs.field(default=DEFAULT_MAX_BYTES, validator=positive, kw_only=True)

    def split(self, buffer: Buffer, /) -> bytes | None:
        """Take the next payload off the buffer. Raises: FrameTooLarge, FrameMalformed."""
        digits = len(str(self.max_bytes))
        head = bytes(buffer.data[: digits + 1])
        number, colon, _ = head.partition(b":")
        if not _is_length(number, whole=bool(colon)):
            raise FrameMalformed(f"a netstring must begin with its length and a colon, not with {head!r}")
        if not colon:
            if len(head) > digits:
                raise FrameTooLarge("netstring", self.max_bytes)
            return None
        size = int(number)
        if size > self.max_bytes:
            raise FrameTooLarge("netstring", self.max_bytes)
        begin = len(number) + 1
        if len(buffer) < begin + size + 1:
            return None
        if buffer.data[begin + size] != ord(","):
            raise FrameMalformed(f"a netstring of {size} bytes must be followed by a comma")
        return buffer.take(begin + size + 1)[begin:-1]

    def join(self, payload: bytes, /) -> bytes:
        """Return the payload as a netstring. Raises: ValueError if it is too large."""
        payload = _check_size(_check_payload(payload), self.max_bytes)
        return b"%d:%b," % (len(payload), payload)


def _is_length(number: bytes, *, whole: bool) -> bool:
    """Whether these are the digits of a length (with `whole`), or can become them."""
    if not number:
        return not whole
    return number.isdigit() and (number[:1] != b"0" or number == b"0")
