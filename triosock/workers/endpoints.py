"""The endpoints: the sockets that the parent opens, and each worker inherits.

The invariants:

1. **The parent opens the sockets, and never accepts or receives.** Streams have one listener for all workers:
   any free worker accepts the next connection in its queue, and none is lost when a worker ends.
2. **UDP has a socket of its own for each slot** (SO_REUSEPORT): the kernel sends one peer's datagrams to one
   of them, so a session stays with its slot. The socket belongs to the slot and not to the worker: datagrams
   that arrive while a worker is replaced wait in it.
3. **Inherited sockets are passed on, and their files are kept.** Sockets and socket files that were made here
   are closed and removed at the end.
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
from .._core.listeners.systemd import inherited_of_one_kind
from .._core.listeners.unix import UnixListener, check_mode, open_unix_listener
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
#: The scheme of an inherited socket: ``fd://NAME`` with its FileDescriptorName (systemd.socket(5)).
INHERITED: Final = "fd://"
#: The name of the control socket in a handover. No endpoint can have it, since their names have no slash.
CONTROL: Final = "control/"
#: The name of the health endpoint in a handover.
HEALTH: Final = "health/"
_logger: Final = logging.getLogger("triosock.workers")


@final
@attrs.define
class Endpoints:
    """All sockets of a service. All workers inherit the `shared` ones; of each address in `udp`, each slot
    has a socket of its own.
    """

    shared: list[tuple[str, SocketListener]] = attrs.field(factory=list)
    #: Inherited datagram sockets. All workers share them: they cannot be opened again for each slot.
    borrowed: list[tuple[str, socket.socket]] = attrs.field(factory=list)
    udp: list[tuple[str, UdpAddress]] = attrs.field(factory=list)
    addresses: list[Address] = attrs.field(factory=list)
    #: The addresses as the caller wrote them, by name; a successor compares its own with them.
    wanted: dict[str, str] = attrs.field(factory=dict)
    handover: Handover | None = None
    #: The listener of the control socket, which no worker inherits.
    control: SocketListener | None = None
    #: The listeners of the health endpoint, which no worker inherits.
    health: list[SocketListener] = attrs.field(factory=list)
    #: Removes the socket files if this process is killed.
    guard: FileGuard | None = None
    _slots: dict[int, list[tuple[str, KernelSocket]]] = attrs.field(factory=dict)

    async def open_slot(self, number: int) -> None:
        """Open the UDP sockets of a slot: all or none. Raises: as `open_udp_sockets`."""
        opened: list[tuple[str, KernelSocket]] = []
        try:
            await self._open_udp(number, opened)
        except BaseException:
            for _, sock in opened:
                sock.close()
            raise
        self._slots[number] = opened

    async def _open_udp(self, number: int, opened: list[tuple[str, KernelSocket]]) -> None:
        for index, (name, address) in enumerate(self.udp):
            sockets: list[KernelSocket] = []
            if self.handover is not None:
                left = self.handover.take_datagrams(name, self.wanted[name], number)
                sockets = [KernelSocket(sock) for sock in left]
            if not sockets:
                sockets = await open_udp_sockets(address.port, host=host_to_bind(address), reuse_port=True)
            opened += [(name, sock) for sock in sockets]
            # Port 0 stands for a free port; the other slots then get the same one.
            bound = sockets[0].address
            if isinstance(bound, UdpAddress) and address.port == 0:
                self.udp[index] = (name, attrs.evolve(address, port=bound.port))
                self.addresses.append(bound)

    def close_slot(self, number: int) -> None:
        """Close the UDP sockets of a slot. Datagrams that wait in them are lost."""
        for _, sock in self._slots.pop(number, []):
            sock.close()

    def descriptors(self, number: int) -> list[tuple[str, int]]:
        """Return the names and descriptors that the worker of this slot inherits."""
        return [
            *((name, listener.socket.fileno()) for name, listener in self.shared),
            *((name, sock.fileno()) for name, sock in self.borrowed),
            *((name, sock.socket.fileno()) for name, sock in self._slots.get(number, [])),
        ]

    def handed_over(self) -> list[tuple[str, int]]:
        """Return the names and descriptors that a successor of the parent inherits."""
        slots = [
            (slot_name(name, number), sock.socket.fileno())
            for number, sockets in self._slots.items()
            for name, sock in sockets
        ]
        aside = [(name, listener.socket.fileno()) for name, listener in self._own_listeners()]
        return [*self.descriptors(0), *slots, *aside]

    def files(self) -> dict[str, tuple[str, int, int]]:
        """Return path, device and inode of each socket file that was made here, by the name of its
        endpoint.
        """
        return {
            name: (one._file.path, one._file.device, one._file.inode)
            for name, one in self._listeners()
            if isinstance(one, UnixListener) and one._file is not None
        }

    def disown_files(self) -> None:
        """Give up the socket files, which a successor owns from now on."""
        for _, one in self._listeners():
            if isinstance(one, UnixListener):
                one._file = None
        if self.guard is not None:
            self.guard.dismiss()

    def is_guard(self, process: int) -> bool:
        """Whether this is the process id of the file guard."""
        return self.guard is not None and self.guard.id == process

    async def guard_files(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run a `FileGuard` until cancelled, or until its process has ended; report started when it runs, or
        when there are no files, or there can be no guard: that is no reason to serve nobody.
        """
        files = self.files().values()
        if not files:
            task_status.started()
            return
        try:
            guard = FileGuard(files)
        except OSError as error:
            _logger.error("the socket files have no guard (%s): if this process is killed, they stay", error)
            task_status.started()
            return
        try:
            async with guard as self.guard:
                task_status.started()
                await self.guard.wait()
                if not self.guard.dismissed:
                    _logger.error(
                        "the process that guards the socket files was killed: if this process is killed too, "
                        "the files stay"
                    )
        finally:
            self.guard = None  # another process may get its id

    def _listeners(self) -> list[tuple[str, SocketListener]]:
        return [*self.shared, *self._own_listeners()]

    def _own_listeners(self) -> list[tuple[str, SocketListener]]:
        """Return the listeners of the parent, which no worker inherits, with their names."""
        control = [] if self.control is None else [(CONTROL, self.control)]
        return [*control, *((HEALTH, one) for one in self.health)]

    def take_files(self) -> None:
        """Become the owner of the predecessor's socket files; those without a socket here are removed."""
        if self.handover is None:
            return
        self.shared = [(name, self.handover.own(name, one)) for name, one in self.shared]
        if self.control is not None:
            self.control = self.handover.own(CONTROL, self.control)
        self.health = [self.handover.own(HEALTH, one) for one in self.health]
        self.handover.remove_files()
        self.handover.close()
        self.handover = None

    def close_control(self) -> None:
        """Close the control socket and the health endpoint, which answer in a drain too."""
        for _, listener in self._own_listeners():
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
    """Open all endpoints, or none.

    Args:
      endpoints: addresses such as ``tcp://*:9999``, ``unix:///run/app.sock``, ``udp://*:53``, or ``fd://NAME``
        for an inherited socket; or open listeners. The keys of a mapping are the names by which a worker asks
        `inherited_listeners` for them.
      modes: permission bits of the files of ``unix://`` endpoints, by name.
      control: the path of the parent's control socket; None for none.
      health: the address of the health endpoint; None for none.

    Raises: TypeError, ValueError; AddressUnavailable; socket.gaierror.
    """
    named = list(_named(endpoints))
    _check_modes(modes or {}, named)
    opened = Endpoints(handover=take_handover())
    with contextlib.ExitStack() as failed:
        failed.callback(opened.close)
        failed.callback(opened.close_control)
        if control is not None:
            _open_control(os.fspath(control), opened)
        if health is not None:
            await _open_health(health, opened)
        for name, endpoint in named:
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
        check_endpoint_name(name)
    return [(str(name), endpoint) for name, endpoint in endpoints.items()]


def _check_modes(modes: Mapping[str, int], named: Iterable[tuple[str, Endpoint]]) -> None:
    """Raise TypeError or ValueError for a wrong mode, and for one that no endpoint would have."""
    if not isinstance(modes, Mapping):
        raise TypeError(f"modes must be a mapping of names to permission bits, not {modes!r}")
    files = [name for name, one in named if isinstance(one, str) and one.startswith("unix:")]
    for name, mode in modes.items():
        if name not in files:
            there = ", ".join(files) or "none"
            raise ValueError(f"modes: {name!r} is no unix:// endpoint; there are: {there}")
        check_mode(mode)


def check_endpoint_name(name: object) -> None:
    """Raise ValueError unless `name` may be the name of a socket: sd_listen_fds_with_names(3)."""
    is_text = isinstance(name, str) and name.isascii() and name.isprintable()
    if not is_text or not name or set(":/") & set(str(name)):
        raise ValueError(
            f"the name of an endpoint must be one or more ASCII characters without ':' and '/', not {name!r}"
        )


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
    # All of them are SocketListeners, since the address is one of the kernel: this is for the type checker.
    opened.health = left or [one for one in await open_endpoint(endpoint) if isinstance(one, SocketListener)]


def _share(name: str, listeners: Iterable[Listener], opened: Endpoints) -> None:
    for listener in listeners:
        if not isinstance(listener, SocketListener):
            raise TypeError(f"only sockets can be inherited by workers, not {listener!r}")
        opened.shared.append((name, listener))
        opened.addresses.append(listener.address)


def _inherit(name: str, endpoint: str, opened: Endpoints) -> None:
    theirs = endpoint.removeprefix(INHERITED)
    left = opened.handover.take_datagrams(name, endpoint) if opened.handover is not None else []
    for one in left or inherited_of_one_kind(theirs):
        if isinstance(one, SocketListener):
            _share(name, [one], opened)
        else:
            opened.borrowed.append((name, one))
            opened.addresses.append(from_sockaddr(one.family, one.type, one.getsockname()))


def usable_processors() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
