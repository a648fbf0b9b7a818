"""The manager's end of sd_notify(3): what workers tell their parent.

The invariant: **a message counts for the process that the kernel says has sent it** (SCM_CREDENTIALS,
unix(7)). The socket has an abstract name, so that no file can be left, and any process on the machine may
send to it; what does not come from a registered process is dropped.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, final

import trio

from ..notify import parse_message

Fields: TypeAlias = Mapping[str, str]

_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred of unix(7): process, user, group
#: As much as Linux allows by default to send in one datagram (net.core.wmem_default).
_MAX_BYTES: Final = 262_144
#: So many messages are taken in a row, so that a chatterbox does not keep everything else waiting.
_IN_A_ROW: Final = 100


@final
class NotifyReceiver:
    """Passes each worker's messages to the code that registered its process. A context manager that closes
    it."""

    def __init__(self) -> None:
        self._takers: dict[int, Callable[[Fields], None]] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.setblocking(False)
            # An empty address: the kernel finds an abstract name that is free (unix(7), "autobind").
            self._socket.bind("")
        except BaseException:
            self._socket.close()
            raise
        name = self._socket.getsockname()
        self.path: Final = "@" + os.fsdecode(name)[1:]

    def __enter__(self) -> NotifyReceiver:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def register(self, process: int, taker: Callable[[Fields], None]) -> None:
        """Have `taker` called with each message of this process."""
        self._takers[process] = taker

    def forget(self, process: int) -> None:
        """Drop what this process says from now on."""
        self._takers.pop(process, None)

    async def run(self) -> None:
        """Hand out messages until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            self.read_pending()

    def read_pending(self) -> None:
        """Hand out what is here. Synchronous: for a moment at which what was said before must count."""
        for _ in range(_IN_A_ROW):
            try:
                data, control, _, _ = self._socket.recvmsg(_MAX_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                return
            taker = self._takers.get(_sender(control))
            if taker is not None:
                taker(parse_message(data))


def _sender(control: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(data) == _CREDENTIALS.size:
            return int(_CREDENTIALS.unpack(data)[0])
    return 0
