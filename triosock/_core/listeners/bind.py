"""One port for all addresses of a host: the common part of opening TCP and UDP sockets.

The invariant: **all sockets or none.** A host stands for several addresses (IPv4 and IPv6, or several
interfaces); they all get a socket on the same port, or the error is raised and none is left open.
"""

from __future__ import annotations

import errno
import math
import socket
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import trio

from ..model.addresses import SockAddr, check_port
from ..model.errors import AddressUnavailable

#: A family, and an address as the socket module has it.
_Target: TypeAlias = tuple[int, tuple[Any, ...]]
_TRIES: Final = 16


def check_in_trio(what: str) -> None:
    """Raise RuntimeError, saying what to do, if this is no trio program."""
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError(
            f"{what} was called outside of a trio program. This is a trio library: start it with "
            "triosock.run(…) or trio.run(…), not with asyncio.run(…)"
        )


def warn_of_autojump(*, stacklevel: int) -> None:
    """Warn (RuntimeWarning) if the clock of this run jumps when all tasks wait (autojump)."""
    threshold = getattr(trio.lowlevel.current_clock(), "autojump_threshold", math.inf)
    if threshold < math.inf:
        warnings.warn(
            "an autojump clock does not see bytes on their way through real sockets, and jumps to the next "
            "timeout, which may be half an hour ahead: serve a MemoryListener, or a socket of a "
            "DatagramNetwork, from triosock.testing instead",
            RuntimeWarning,
            stacklevel=stacklevel + 1,
        )


def _check_host(host: object) -> None:
    if host is None:
        return
    if not isinstance(host, (str, bytes)):
        raise TypeError(f"host must be a str, bytes or None, not {host!r}")
    if "\0" in host if isinstance(host, str) else b"\0" in host:
        raise ValueError(f"host must not contain a zero byte, where the resolver would stop: {host!r}")


async def open_on_one_port(
    port: int,
    host: str | bytes | None,
    kind: socket.SocketKind,
    bind: Callable[[int, SockAddr], socket.socket],
) -> list[socket.socket]:
    """Resolve `host` and `bind(family, sockaddr)` a socket for each of its addresses, all on one port.

    Raises: TypeError, ValueError; OSError (socket.gaierror) if `host` cannot be resolved; AddressUnavailable.

    Cancellation: a checkpoint; cancelled, nothing is left open.
    """
    check_port(port)
    _check_host(host)
    try:
        found = await trio.socket.getaddrinfo(
            host, port, type=kind, flags=socket.AI_PASSIVE, family=socket.AF_UNSPEC
        )
    except socket.gaierror as error:
        message = f"host {host!r} cannot be resolved: {error.strerror}"
        raise socket.gaierror(error.errno, message) from error
    except ValueError as error:  # IDNA cannot encode it
        raise ValueError(f"host {host!r} is no host name: {error}") from error
    # Each address once: getaddrinfo may name one several times ("localhost" in some hosts files).
    targets = list({(int(family), sockaddr): None for family, _, _, _, sockaddr in found})
    scheme = "udp" if kind == socket.SOCK_DGRAM else "tcp"
    # With port 0 the first socket finds a free port that another process may hold in the other family: then
    # another port is tried, a bounded number of times. With a port that was asked for, the first failure is
    # raised.
    for attempt in range(_TRIES):
        try:
            return _open_all(targets, bind, scheme)
        except AddressUnavailable as error:
            if port != 0 or error.errno != errno.EADDRINUSE or attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _open_all(
    targets: Sequence[_Target], bind: Callable[[int, SockAddr], socket.socket], scheme: str
) -> list[socket.socket]:
    opened: list[socket.socket] = []
    unsupported: OSError | None = None
    port = 0
    try:
        for family, sockaddr in targets:
            wanted = (sockaddr[0], sockaddr[1] or port, *sockaddr[2:])
            try:
                sock = bind(family, wanted)
            except OSError as error:
                # A kernel without IPv6 still resolves "::"; the other family is then all there is.
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) or len(targets) == 1:
                    raise _explain(error, f"{scheme} port {wanted[1]} of {wanted[0]}") from error
                unsupported = error
                continue
            opened.append(sock)
            port = sock.getsockname()[1]
        if not opened:
            assert unsupported is not None
            raise _explain(unsupported, scheme) from unsupported
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    return opened


def set_common_options(sock: socket.socket, *, reuse_port: bool) -> None:
    """Set what every socket needs before it is bound: IPv6 for IPv6 alone, and a shared port if wanted."""
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


_ADVICE: Final = {
    errno.EADDRINUSE: "another program listens there: stop it, or use another port (0 is any free one)",
    errno.EADDRNOTAVAIL: "the address is not one of this machine",
    errno.EACCES: "not allowed: a port below 1024 needs CAP_NET_BIND_SERVICE, or a socket handed down",
}


def _explain(error: OSError, where: str) -> AddressUnavailable:
    advice = _ADVICE.get(error.errno or 0, error.strerror or str(error))
    return AddressUnavailable(error.errno, f"cannot listen on {where}: {advice}")
