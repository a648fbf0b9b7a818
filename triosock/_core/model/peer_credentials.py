"""The process, user and group at the other end of a Unix socket, from the kernel."""

from __future__ import annotations

import socket
import struct
from typing import final

import attrs


@final
@attrs.frozen
class PeerCredentials:
    """The peer of a Unix socket, as the kernel noted it at the connect: process, user and
    group id (unix(7)).
    """

    pid: int
    uid: int
    gid: int


def peer_credentials(transport: object) -> PeerCredentials:
    """Return the credentials of the peer of a Unix socket. Raises: OSError; TypeError unless it is a Unix
    socket of Linux.
    """
    if (
        not isinstance(transport, socket.socket)
        or not hasattr(socket, "SO_PEERCRED")  # first: where it is missing, AF_UNIX may be, too
        or transport.family != socket.AF_UNIX
    ):
        raise TypeError("only Unix sockets know their peer's credentials, and only on Linux")
    size = struct.calcsize("3i")
    return PeerCredentials(
        *struct.unpack("3i", transport.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    )


def user_of(transport: object) -> int | None:
    """Return the user id of the other end of a Unix socket; None if it is none, or not one of Linux."""
    try:
        return peer_credentials(transport).uid
    except (TypeError, OSError):
        return None
