"""The endpoints: sockets that the parent opens and each worker inherits.

The invariants:

1. **The parent opens, and never accepts or receives.** Streams have one listener for all workers: a
   connection in its queue is served by any free worker, and none is lost when a worker ends.
2. **UDP has a socket of its own for each slot** (SO_REUSEPORT): the kernel sends one peer's datagrams to one
   of them, so a session stays with its slot. The socket is the slot's and not the worker's: what arrives
   while a worker is replaced waits in it.
3. **Inherited sockets are passed on and their files kept**; what was made here is removed at the end, socket
   files included.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias, final

import attrs
import trio

from .._core.datagram.open import open_udp_sockets
from .._core.datagram.socket import KernelSocket
from .._core.listeners.listener import Listener, SocketListener, adopt, open_tcp_listeners
from .._core.listeners.systemd import inherited_datagram_sockets, inherited_listeners
from .._core.listeners.unix import UnixListener, open_unix_listener
from .._core.model.addresses import (
    Address,
    TcpAddress,
    UdpAddress,
    UnixAddress,
    from_sockaddr,
    host_to_bind,
    parse_address,
)
from ..observe.health import check_h11, open_endpoint
from .file_guard import FileGuard
from .handover import Handover, slot_name, take_handover

#: An address, or a listener that is open already.
Endpoint: TypeAlias = "str | Listener | socket.socket"
#: An inherited socket is written so: ``fd://NAME``, with its FileDescriptorName (systemd.socket(5)).
INHERITED: Final = "fd://"
#: The name of the control socket at a handover; no endpoint has it, for they have no slash.
CONTROL: Final = "control/"
#: That of the health endpoint.
HEALTH: Final = "health/"
_logger: Final = logging.getLogger("triosock.workers")


@final
@attrs.define
class Endpoints:
    """All sockets of a service: `shared` ones, and those of UDP, by name, of which each slot gets its own."""

    shared: list[tuple[str, SocketListener]] = attrs.field(factory=list)
    #: Datagram sockets that cannot be multiplied: handed down by a service manager.
    borrowed: list[tuple[str, socket.socket]] = attrs.field(factory=list)
    udp: list[tuple[str, UdpAddress]] = attrs.field(factory=list)
    addresses: list[Address] = attrs.field(factory=list)
    #: As they were asked for, by name: what a successor compares its own with.
    wanted: dict[str, str] = attrs.field(factory=dict)
    handover: Handover | None = None
    #: Of the control socket, which no worker inherits.
    control: SocketListener | None = None
    #: Of the health endpoint: likewise.
    health: list[SocketListener] = attrs.field(factory=list)
    #: Removes the socket files if this process is killed.
    guard: FileGuard | None = None
    _slots: dict[int, list[tuple[str, KernelSocket]]] = attrs.field(factory=dict)

    async def open_slot(self, number: int) -> None:
        """Open what a slot has of its own. Raises: as `open_udp_sockets`."""
        opened: list[tuple[str, KernelSocket]] = []
        self._slots[number] = opened
        for index, (name, address) in enumerate(self.udp):
            sockets: list[KernelSocket] = []
            if self.handover is not None:
                left = self.handover.take_datagrams(name, self.wanted[name], number)
                sockets = [KernelSocket(sock) for sock in left]
            if not sockets:
                sockets = await open_udp_sockets(address.port, host=host_to_bind(address), reuse_port=True)
            opened += [(name, sock) for sock in sockets]
            # Port 0 is any free one, and then the same one for all slots.
            bound = sockets[0].address
            if isinstance(bound, UdpAddress) and address.port == 0:
                self.udp[index] = (name, attrs.evolve(address, port=bound.port))
                self.addresses.append(bound)

    def close_slot(self, number: int) -> None:
        """Close what a slot has of its own; what waits there is lost."""
        for _, sock in self._slots.pop(number, []):
            sock.close()

    def descriptors(self, number: int) -> list[tuple[str, int]]:
        """Return what the worker of this slot inherits: names and descriptors."""
        return [
            *((name, listener.socket.fileno()) for name, listener in self.shared),
            *((name, sock.fileno()) for name, sock in self.borrowed),
            *((name, sock.socket.fileno()) for name, sock in self._slots.get(number, [])),
        ]

    def handed_over(self) -> list[tuple[str, int]]:
        """Return what a successor of the parent inherits: names and descriptors."""
        slots = [
            (slot_name(name, number), sock.socket.fileno())
            for number, sockets in self._slots.items()
            for name, sock in sockets
        ]
        aside = [(name, listener.socket.fileno()) for name, listener in self._aside()]
        return [*self.descriptors(0), *slots, *aside]

    def files(self) -> dict[str, tuple[str, int, int]]:
        """Return the socket files that were made here, by the endpoint's name: path, device, inode."""
        return {
            name: (one._path, *one._made)
            for name, one in self._listeners()
            if isinstance(one, UnixListener) and one._path is not None and one._made is not None
        }

    def disown_files(self) -> None:
        """Leave the socket files to a successor."""
        for _, one in self._listeners():
            if isinstance(one, UnixListener):
                one._path = None
        if self.guard is not None:
            self.guard.stand_down()

    def is_guard(self, process: int) -> bool:
        """Whether this process id is the guard's of the socket files."""
        return self.guard is not None and self.guard.id == process

    async def guard_files(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Have a process remove the socket files if this one is killed, until cancelled, or until that one
        ends; `started` when it is there, or there are none. Raises: as `FileGuard`.
        """
        files = self.files().values()
        if not files:
            task_status.started()
            return
        try:
            async with FileGuard(files) as self.guard:
                task_status.started()
                await self.guard.wait()
                if not self.guard.stood_down:
                    _logger.error(
                        "the guard of the socket files was killed: nothing removes them if this process is"
                    )
        finally:
            self.guard = None  # another process may have its id

    def _listeners(self) -> list[tuple[str, SocketListener]]:
        return [*self.shared, *self._aside()]

    def _aside(self) -> list[tuple[str, SocketListener]]:
        """What is the parent's own, and no worker's."""
        control = [] if self.control is None else [(CONTROL, self.control)]
        return [*control, *((HEALTH, one) for one in self.health)]

    def own_files(self) -> None:
        """Take over the socket files of the predecessor."""
        if self.handover is None:
            return
        self.shared = [(name, self.handover.own(name, one)) for name, one in self.shared]
        if self.control is not None:
            self.control = self.handover.own(CONTROL, self.control)
        self.health = [self.handover.own(HEALTH, one) for one in self.health]
        self.handover.close()
        self.handover = None

    def close_control(self) -> None:
        """Close the control socket and the health endpoint, which are looked at in a drain too."""
        for _, listener in self._aside():
            listener.close()

    def close(self) -> None:
        """Close all but what `close_control` closes, and remove the socket files that were made here."""
        for number in list(self._slots):
            self.close_slot(number)
        for _, listener in self.shared:
            listener.close()
        for _, sock in self.borrowed:
            sock.close()
        if self.handover is not None:
            self.handover.close()


async def open_endpoints(
    endpoints: Iterable[Endpoint] | Mapping[str, Endpoint],
    modes: Mapping[str, int] | None = None,
    control: str | os.PathLike[str] | None = None,
    health: str | None = None,
) -> Endpoints:
    """Open all of these, or none.

    Args: addresses such as ``tcp://*:9999``, ``unix:///run/app.sock``, ``udp://*:53``, or ``fd://NAME`` for
    an inherited one; or listeners that are open. By name if a mapping is given: the name is what a worker
    asks `inherited_listeners` for.

    Raises: TypeError, ValueError; AddressUnavailable; socket.gaierror.
    """
    opened = Endpoints(handover=take_handover())
    with contextlib.ExitStack() as failed:
        failed.callback(opened.close)
        failed.callback(opened.close_control)
        if control is not None:
            _open_control(os.fspath(control), opened)
        if health is not None:
            await _open_health(health, opened)
        for name, endpoint in _named(endpoints):
            await _open(name, endpoint, (modes or {}).get(name), opened)
        await trio.lowlevel.checkpoint()
        failed.pop_all()
    return opened


def _named(endpoints: Iterable[Endpoint] | Mapping[str, Endpoint]) -> Iterable[tuple[str, Endpoint]]:
    if isinstance(endpoints, (str, bytes)) or not isinstance(endpoints, Iterable):
        raise TypeError(f"endpoints must be several addresses, such as [{endpoints!r}], not a single one")
    if not isinstance(endpoints, Mapping):
        return [(f"endpoint{index}", one) for index, one in enumerate(endpoints, 1)]
    for name in endpoints:
        # sd_listen_fds_with_names(3)
        if not isinstance(name, str) or not name.isascii() or not name.isprintable() or set(":/") & set(name):
            raise ValueError(
                f"an endpoint's name must be of ASCII characters without ':' and '/', not {name!r}"
            )
    return [(str(name), endpoint) for name, endpoint in endpoints.items()]


async def _open(name: str, endpoint: Endpoint, mode: int | None, opened: Endpoints) -> None:
    if not isinstance(endpoint, str):
        _share(name, [adopt(endpoint)], opened)
        return
    opened.wanted[name] = endpoint
    if opened.handover is not None and (left := opened.handover.take(name, endpoint)):
        _share(name, left, opened)
    elif endpoint.startswith(INHERITED):
        _inherit(name, endpoint, opened)
    else:
        await _open_address(name, parse_address(endpoint), mode, opened)


async def _open_address(name: str, address: Address, mode: int | None, opened: Endpoints) -> None:
    match address:
        case TcpAddress():
            _share(name, await open_tcp_listeners(address.port, host=host_to_bind(address)), opened)
        case UnixAddress():
            _share(name, [open_unix_listener(address.path, mode=mode)], opened)
        case UdpAddress():
            opened.udp.append((name, address))
            if address.port:
                opened.addresses.append(address)


def _open_control(path: str, opened: Endpoints) -> None:
    opened.wanted[CONTROL] = path
    left = opened.handover.take(CONTROL, path) if opened.handover is not None else []
    opened.control = left[0] if left else open_unix_listener(path, mode=0o600)


async def _open_health(endpoint: str, opened: Endpoints) -> None:
    check_h11()
    opened.wanted[HEALTH] = endpoint
    left = opened.handover.take(HEALTH, endpoint) if opened.handover is not None else []
    # Only what is no socket of the kernel's is no SocketListener.
    opened.health = left or [one for one in await open_endpoint(endpoint) if isinstance(one, SocketListener)]


def _share(name: str, listeners: Iterable[Listener], opened: Endpoints) -> None:
    for listener in listeners:
        if not isinstance(listener, SocketListener):
            raise TypeError(f"only sockets can be inherited by workers, not {listener!r}")
        opened.shared.append((name, listener))
        opened.addresses.append(listener.address)


def _inherit(name: str, endpoint: str, opened: Endpoints) -> None:
    theirs = endpoint.removeprefix(INHERITED)
    sockets = opened.handover.take_datagrams(name, endpoint) if opened.handover is not None else []
    if not sockets:
        try:
            _share(name, inherited_listeners([theirs]), opened)
        except ValueError as error:
            if "needs a stream socket" not in str(error):
                raise
            sockets = inherited_datagram_sockets([theirs])
    for sock in sockets:
        opened.borrowed.append((name, sock))
        opened.addresses.append(from_sockaddr(sock.family, sock.type, sock.getsockname()))


def usable_processors() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
