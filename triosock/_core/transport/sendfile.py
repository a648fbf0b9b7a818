"""Sending files: sendfile(2) where the system and the wire allow it, pieces read in a thread otherwise.

The invariant is the wire's: what was sent is counted, and a send that was cancelled half-way makes the next
one raise.
"""

from __future__ import annotations

import io
import math
import os
from typing import IO, Final

import trio

from ..model.checks import check_int
from .socket import SocketWire
from .stream_adapter import StreamWire
from .tls import TlsWire

#: Bytes for one call of sendfile(2): it may wait for the disk, and no other task runs meanwhile.
_PIECE: Final = 262_144


async def send_file(
    wire: SocketWire | StreamWire, file: IO[bytes], offset: int | None, count: int | None
) -> int:
    """Send `count` bytes of `file` from `offset` on; see `Connection.send_file`."""
    _check("offset", offset)
    _check("count", count)
    _check_binary(file)
    descriptor = _descriptor(file)
    if descriptor is None or isinstance(wire, (StreamWire, TlsWire)) or not hasattr(os, "sendfile"):
        return await _send_pieces(wire, file, offset, count)
    if file.writable():
        file.flush()  # the system does not see what is in Python's buffer
    position = file.tell() if offset is None else offset
    size = os.fstat(descriptor).st_size
    if not size:
        return await _send_pieces(wire, file, offset, count)  # a device or a file of /proc: of unknown size
    left = size - position
    left = max(0, left if count is None else min(left, count))
    sent = await wire.send_from(descriptor, position, left, _PIECE)
    if offset is None:
        file.seek(position + sent)
    return sent


def _check_binary(file: object) -> None:
    if isinstance(file, io.TextIOBase) or not hasattr(file, "read"):
        raise TypeError(f"file must be open for reading in binary mode, not {file!r}")


def _check(argument: str, value: object) -> None:
    if value is not None:
        check_int(value, argument, 0, besides=", or None")


def _descriptor(file: IO[bytes]) -> int | None:
    """The descriptor, if there is one and it can be read from any position."""
    # What reads a file in its own way (gzip) has the descriptor of something else than its contents.
    if not isinstance(getattr(file, "raw", file), io.FileIO):
        return None
    try:
        descriptor = file.fileno()
        if file.seekable():
            return descriptor
    except (OSError, AttributeError):
        pass  # io.UnsupportedOperation is an OSError: a file in memory, a pipe
    return None


async def _send_pieces(
    wire: SocketWire | StreamWire, file: IO[bytes], offset: int | None, count: int | None
) -> int:
    await trio.lowlevel.checkpoint()  # also if there is nothing to send
    if offset is not None:
        await trio.to_thread.run_sync(file.seek, offset)
    left = math.inf if count is None else count

    async def read() -> bytes:
        nonlocal left
        piece = await trio.to_thread.run_sync(file.read, int(min(_PIECE, left))) if left else b""
        left -= len(piece or b"")
        return piece

    return await wire.send_pieces(read)
