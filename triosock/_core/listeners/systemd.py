"""Socket activation: the sockets that a service manager has opened and passed to this process
(sd_listen_fds(3)).

Rules of this file:

1. A passed socket is only closed: it is never shut down (shutdown(2)), and its file is never removed.
2. Each descriptor is taken once: of two owners, one would later close a descriptor number that was reused.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, TypeVar

from .listener import SocketListener

#: Name and descriptor.
_Handed: TypeAlias = tuple[str, int]
Taken = TypeVar("Taken")
_FIRST: Final = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)

#: What was handed down and is not taken yet. By process id, since a forked process has a copy of this
#: variable, and the sockets were not passed to it.
_remaining: dict[int, list[_Handed]] = {}


class NotHandedDown(ValueError):
    """A socket was not handed down to this process, or is not of the kind that is wanted."""


def inherited_listeners(names: Iterable[str] | None = None) -> list[SocketListener]:
    """Return the listening stream sockets that a service manager handed down to this process.

    The environment variables LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES say which they are. The first call
    removes these, so that no child takes the sockets for its own; what it does not take remains for later
    calls.

    Args: `names` chooses by FileDescriptorName (systemd.socket(5)), in the order given. None takes all that
    are left. Datagram sockets are left to `inherited_datagram_sockets`, also those of the same name: a unit
    may have both, and without a FileDescriptorName all of its sockets are named after it.

    Returns: the listeners; an empty list if `names` is None and nothing is left, or was meant for this
    process.

    Raises: TypeError; ValueError if one of `names` was not handed down or is taken already, or names no
    stream socket, or one that does not listen. Nothing is taken then.
    """
    return _take(names, socket.SOCK_STREAM, SocketListener)


def inherited_datagram_sockets(names: Iterable[str] | None = None) -> list[socket.socket]:
    """Return the datagram sockets that a service manager handed down to this process, for
    `serve_datagram_sockets`.

    Args, returns, raises: as `inherited_listeners`, of datagram sockets instead of listening ones.
    """
    return _take(names, socket.SOCK_DGRAM, _check_datagram)


def inherited_of_one_kind(name: str) -> list[SocketListener] | list[socket.socket]:
    """Return the listeners of this name, or its datagram sockets, for an endpoint, which has one kind.

    Raises: NotHandedDown, also if there are both kinds: these are closed.
    """
    try:
        listeners = inherited_listeners([name])
    except NotHandedDown as error:
        if "needs a stream socket" not in str(error):
            raise
        return inherited_datagram_sockets([name])
    try:
        others = inherited_datagram_sockets([name])
    except NotHandedDown:
        return listeners  # there are no datagram sockets of this name
    for listener in listeners:
        listener.close()
    for sock in others:
        sock.close()
    raise NotHandedDown(
        f"{name!r} names stream and datagram sockets, and an endpoint has one kind: "
        "give each kind its own FileDescriptorName= (systemd.socket(5)) and endpoint"
    )


def inherited_connection() -> socket.socket | None:
    """Return the one connected stream socket that a service manager handed down (systemd's Accept=yes); None
    if there is nothing, or something else: that is left to others.
    """
    if not has_inherited_connection():
        return None
    (sock,) = _take(None, socket.SOCK_STREAM, _as_it_is)
    return sock


def has_inherited_connection() -> bool:
    """Whether `inherited_connection()` would return one."""
    handed = _handed_down()
    return len(handed) == 1 and _is_connection(handed[0][1])


def _as_it_is(sock: socket.socket) -> socket.socket:
    return sock


def _is_connection(descriptor: int) -> bool:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        return False
    try:
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        return sock.type == socket.SOCK_STREAM and not listens
    finally:
        sock.detach()


def _take(
    names: Iterable[str] | None, kind: socket.SocketKind, make: Callable[[socket.socket], Taken]
) -> list[Taken]:
    """Return what `make` makes of the chosen sockets of this kind: of all or of none."""
    if isinstance(names, (str, bytes)):
        raise TypeError(f"names must be several names, such as [{names!r}], not a single one")
    handed = _handed_down()
    chosen = [one for one in handed if _is_of(one, kind)] if names is None else _choose(handed, names, kind)
    with contextlib.ExitStack() as failed:
        taken = []
        for name, descriptor in chosen:
            sock = _open(name, descriptor)
            failed.callback(sock.detach)
            try:
                taken.append(make(sock))
            except ValueError as error:
                raise NotHandedDown(str(error)) from None
        failed.pop_all()
    for one in chosen:
        os.set_inheritable(one[1], False)
        handed.remove(one)
    return taken


def _is_of(one: _Handed, kind: socket.SocketKind) -> bool:
    """Whether a descriptor is a socket of this kind. One that is no socket counts as of either kind, so that
    an error is raised.
    """
    try:
        sock = socket.socket(fileno=one[1])
    except OSError:
        return True
    try:
        return sock.type == kind
    finally:
        sock.detach()


def _check_datagram(sock: socket.socket) -> socket.socket:
    if sock.type != socket.SOCK_DGRAM:
        raise ValueError(
            f"the socket bound to {sock.getsockname()!r} is no datagram socket, but {sock.type.name}"
        )
    return sock


def _choose(handed: list[_Handed], names: Iterable[str], kind: socket.SocketKind) -> list[_Handed]:
    chosen = []
    for name in dict.fromkeys(names):
        matching = [one for one in handed if one[0] == name]
        if not matching:
            there = ", ".join(its_name for its_name, _ in handed) or "none"
            raise NotHandedDown(
                f"names: no socket named {name!r} was handed down, or it is taken; there are: {there}"
            )
        # If none is of this kind, `make` says what is wrong with them.
        chosen += [one for one in matching if _is_of(one, kind)] or matching
    return chosen


def _open(name: str, descriptor: int) -> socket.socket:
    try:
        return socket.socket(fileno=descriptor)
    except OSError as error:
        raise NotHandedDown(
            f"descriptor {descriptor} ({name}) was handed down, and is no socket: {error}"
        ) from error


def _handed_down() -> list[_Handed]:
    process = os.getpid()
    if process not in _remaining:
        _remaining[process] = _read_environment(process)
    return _remaining[process]


def _read_environment(process: int) -> list[_Handed]:
    environ = os.environ
    if environ.get("LISTEN_PID") != str(process):
        return []
    try:
        count = int(environ.get("LISTEN_FDS", ""))
    except ValueError:
        count = 0
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    # sd_listen_fds_with_names(3): a descriptor without a name is "unknown".
    names += ["unknown"] * (count - len(names))
    for variable in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environ.pop(variable, None)
    return [(names[index] or "unknown", _FIRST + index) for index in range(count)]
