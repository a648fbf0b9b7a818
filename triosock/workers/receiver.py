"""The manager's side of sd_notify(3): receives the messages of workers.

The invariant: **a message belongs to the process that the kernel names as its sender** (SCM_CREDENTIALS,
unix(7)). The socket has an abstract name, so that no file can be left, and any process on the machine may
send to it; a message of a process that is not registered is dropped.
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
#: How many messages are read in a row if the length of the queue is not known.
_IN_A_ROW: Final = 100


@final
class NotifyReceiver:
    """Passes the messages of each registered process to its callback. A context manager, which closes the
    socket.

    `path` is the value of NOTIFY_SOCKET for the workers.

    Raises: OSError if no descriptor can be had.
    """

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[Fields], None]] = {}
        self._queue_length = _queue_length()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.setblocking(False)
            # With an empty address the kernel chooses a free abstract name (unix(7), "autobind").
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

    def register(self, process: int, callback: Callable[[Fields], None]) -> None:
        """Call `callback` with the fields of each message of this process from now on."""
        self._callbacks[process] = callback

    def forget(self, process: int) -> None:
        """Drop the messages of this process from now on."""
        self._callbacks.pop(process, None)

    async def run(self) -> None:
        """Receive messages until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            self.read_pending()

    def read_pending(self) -> None:
        """Receive all messages that have arrived. Synchronous, so that a decision can take account of
        them.
        """
        # As many as the queue can have: a worker that sends all the time must not starve other tasks.
        for _ in range(self._queue_length):
            try:
                data, control, _, _ = self._socket.recvmsg(_MAX_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                return
            callback = self._callbacks.get(_sender(control))
            if callback is not None:
                callback(parse_message(data))


def _queue_length() -> int:
    """Return the maximum of messages in the queue of a new Unix datagram socket (Linux's sysctl)."""
    try:
        with open("/proc/sys/net/unix/max_dgram_qlen") as file:
            return int(file.read()) + 1  # the kernel refuses a message when there are more than this
    except (OSError, ValueError):
        return _IN_A_ROW


def _sender(control: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(data) == _CREDENTIALS.size:
            return int(_CREDENTIALS.unpack(data)[0])
    return 0
