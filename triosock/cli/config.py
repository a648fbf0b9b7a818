"""The configuration of a service as values, which are made from the command line or a configuration file.

The rule: everything that can be checked without opening or importing is checked when these are made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal, final

import attrs

from .. import (
    CertificateFiles,
    Limits,
    Recycle,
    Sessions,
    Supervision,
    TcpAddress,
    Timeouts,
    UdpAddress,
    UnixAddress,
    parse_address,
)
from .._core.listeners.unix import check_path
from ..observe.health import check_endpoint, check_h11
from ..workers.endpoints import INHERITED
from .observing import Observing

#: Standard input and output, as one connection.
STDIO: Final = "stdio:"
#: An address, or the str of an inherited socket (``fd://NAME``) or of standard input and output.
Where = TcpAddress | UnixAddress | UdpAddress | str


def parse_endpoint(word: str) -> Where:
    """Return the address in `word`, or `word` itself for ``fd://NAME`` and ``stdio:``. Raises: ValueError."""
    if word == STDIO:
        return word
    if word.startswith(INHERITED):
        if not word.removeprefix(INHERITED):
            raise ValueError(f"{word!r} names no socket: write fd://NAME, with its FileDescriptorName")
        return word
    address = parse_address(word)
    if isinstance(address, UnixAddress):
        check_path(address.path)
    assert isinstance(address, (TcpAddress, UnixAddress, UdpAddress))
    return address


def control_path(word: str) -> str:
    """Return `word` if it may be the path of a Unix socket. Raises: ValueError."""
    return check_path(word)


def health_endpoint(word: str) -> str:
    """Return `word` if it is an address for a health port. Raises: ValueError, also without h11."""
    address = check_endpoint(word)
    if isinstance(address, UnixAddress):
        check_path(address.path)
    try:
        check_h11()
    except ImportError as error:
        raise ValueError(str(error)) from None
    return word


@final
@attrs.frozen(kw_only=True)
class TlsConfig:
    """The certificates of an endpoint, at least one, and the options of `Certificates`."""

    certificates: tuple[CertificateFiles, ...]
    roots: str | None = None
    strict: bool = False
    check_dates: bool = True
    check_every: float = math.inf
    #: Handlers by protocol (ALPN), the preferred one first; the endpoint's own handler is for all others.
    handlers: Mapping[str, str] = attrs.field(factory=dict)
    #: Where each of these was written, for errors.
    handler_keys: Mapping[str, str] = attrs.field(factory=dict, eq=False)


@final
@attrs.frozen(kw_only=True)
class EndpointConfig:
    """One endpoint: the address `where`, served with the handler ``module:name``."""

    name: str
    where: Where
    handler: str
    #: Where the handler was written, for errors.
    handler_key: str = attrs.field(default="--handler", eq=False)
    limits: Limits = attrs.field(factory=Limits)
    timeouts: Timeouts = attrs.field(factory=Timeouts)
    sessions: Sessions | None = None
    tls: TlsConfig | None = None
    proxy: bool = False
    mode: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.mode is not None and not isinstance(self.where, UnixAddress):
            raise ValueError("mode is for the file of a unix:// address")
        if isinstance(self.where, UdpAddress) and (self.tls is not None or self.proxy):
            raise ValueError("TLS and the PROXY protocol are for streams, not for udp://")
        if self.sessions is not None and (
            isinstance(self.where, (TcpAddress, UnixAddress)) or self.where == STDIO
        ):
            raise ValueError("sessions are for udp:// addresses")

    def check_kind(self, *, is_datagram: bool) -> None:
        """Raise ValueError if a socket of this kind, which was inherited, cannot be served as configured."""
        if is_datagram and (self.tls is not None or self.proxy):
            raise ValueError(f"{self.name}: TLS and the PROXY protocol are for streams, not for datagrams")
        if self.sessions is not None and not is_datagram:
            raise ValueError(f"{self.name}: sessions are for datagrams, not for streams")


@final
@attrs.frozen(kw_only=True)
class ServiceConfig:
    """A whole service. If `workers` is None, this process serves."""

    endpoints: tuple[EndpointConfig, ...]
    workers: int | Literal["auto"] | None = None
    grace: float | None = None
    log_level: str = "info"
    control: str | None = None
    control_verbs: bool = False
    health: str | None = None
    delay: float | None = None
    observe: Observing = attrs.field(factory=Observing)
    supervision: Supervision = attrs.field(factory=Supervision)
    recycle: Recycle = attrs.field(factory=Recycle)

    def __attrs_post_init__(self) -> None:
        if not self.is_stdio:
            return
        if len(self.endpoints) > 1 or self.workers is not None:
            raise ValueError("stdio: is one connection, for one process: no workers and no other endpoints")
        if self.observe.access_log == "-":
            raise ValueError("stdio: uses stdout for the connection: write the access log to a file")

    @property
    def is_stdio(self) -> bool:
        """Whether standard input and output are served."""
        return any(one.where == STDIO for one in self.endpoints)
