"""The handover to the next parent: the sockets, named after their endpoints, and a description of them.

The rules:

1. **A successor takes a socket by the name of its endpoint.** An endpoint whose address has changed is opened
   again; a socket that is not taken is closed, and its file removed when the successor is ready.
2. **A socket file has one owner at each moment.** The successor becomes its owner when it is ready and not
   before, so that a successor that fails removes no file.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from typing import Final, TypeVar, final

import attrs

from .._core.listeners.listener import SocketListener
from .._core.listeners.systemd import inherited_datagram_sockets, inherited_listeners
from .._core.listeners.unix import SocketFile, UnixListener

Taken = TypeVar("Taken", SocketListener, socket.socket)

#: The environment variable that has the description.
VARIABLE: Final = "TRIOSOCK_HANDOVER"


def slot_name(name: str, number: int) -> str:
    """Return the name, in a handover, of the socket that this slot has of this endpoint."""
    return f"{name}/{number}"


@final
@attrs.define
class Handover:
    """What a successor gets from its predecessor.

    `ready` is the path of the predecessor's sd_notify(3) socket; `names` are the names of all sockets;
    `addresses` and `files` (path, device, inode) are those of some of them, by name.
    """

    ready: str
    names: list[str]
    addresses: dict[str, str]
    files: dict[str, tuple[str, int, int]]

    def take(self, name: str, address: str) -> list[SocketListener]:
        """Return the listeners of this endpoint; none if its address has changed, or if it has datagram
        sockets.
        """
        return self._take(name, inherited_listeners) if self.addresses.get(name) == address else []

    def take_datagrams(self, name: str, address: str, number: int | None = None) -> list[socket.socket]:
        """Return the datagram sockets of this endpoint, or of one slot; none if its address has changed."""
        if self.addresses.get(name) != address:
            return []
        return self._take(name if number is None else slot_name(name, number), inherited_datagram_sockets)

    def _take(self, name: str, take: Callable[[list[str]], list[Taken]]) -> list[Taken]:
        if name not in self.names:
            return []
        try:
            taken = take([name])
        except ValueError:
            return []  # the sockets of this name are of the other kind
        self.names.remove(name)
        return taken

    def own(self, name: str, listener: SocketListener) -> SocketListener:
        """Return the listener as the owner of its socket file, if it was taken and has one."""
        if name in self.names or name not in self.files:
            return listener  # a new one has its own file
        return UnixListener(listener.socket, SocketFile(*self.files[name]))

    def remove_files(self) -> None:
        """Remove the socket files of the sockets that were not taken: this process owns them now."""
        for name in self.names:
            if name in self.files:
                SocketFile(*self.files[name]).remove()

    def close(self) -> None:
        """Close the sockets that were not taken."""
        for name in list(self.names):
            for listener in self._take(name, inherited_listeners):
                listener.close()
            for sock in self._take(name, inherited_datagram_sockets):
                sock.close()


def describe(handover: Handover) -> str:
    """Return the value of `VARIABLE`, which `take_handover` reads."""
    return json.dumps(attrs.asdict(handover))


def take_handover() -> Handover | None:
    """Return the handover of the predecessor, and remove it from the environment; None without one."""
    text = os.environ.pop(VARIABLE, "")
    if not text:
        return None
    fields = json.loads(text)
    files = {
        name: (str(path), int(device), int(inode)) for name, (path, device, inode) in fields["files"].items()
    }
    return Handover(ready=fields["ready"], names=fields["names"], addresses=fields["addresses"], files=files)
