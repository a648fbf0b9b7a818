"""The names of fields in JSON: those of the Elastic Common Schema (ECS), with dots, in one flat object.

Fields that ECS does not have begin with ``triosock.``. Values are in the units of ECS: ``event.duration`` is
in nanoseconds, times are ISO 8601 in UTC.

The invariant: **one object is one line, and its length is bounded**, whatever a peer has sent: texts are
shortened, and control characters and characters outside of ASCII are written as escapes.
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from .._core.model.addresses import Address, MemoryAddress, TcpAddress, UdpAddress, UnixAddress
from .._core.model.events import Cause
from .ends import Ended
from .text import error_text, text_of

#: The version of ECS whose names these are.
VERSION: Final = "8.11.0"
#: The longest text of a field, in characters, and of those that may be longer.
MAX_TEXT: Final = 1_000
LONG: Final = {"message": 10_000, "error.stack_trace": 10_000}
_encode = json.JSONEncoder().encode
#: ``event.outcome`` by the cause of the end; "failure" for all other causes.
OUTCOMES: Final = {
    Cause.FINISHED: "success",
    Cause.PEER: "unknown",
    Cause.IDLE: "unknown",
    Cause.PARENT: "unknown",
}


def to_line(fields: Mapping[str, object]) -> str:
    """Return one line of JSON without the fields that are None. A value that JSON has no type for is written
    as its `str()`.
    """
    # Most values are plain already: this check saves a quarter of the time of a line.
    return _encode(
        {
            name: one
            if type(one) is int or (type(one) is str and len(one) <= MAX_TEXT and one.isascii())
            else plain(one, LONG.get(name, MAX_TEXT))
            for name, one in fields.items()
            if one is not None
        }
    )


def plain(value: object, most: int = MAX_TEXT) -> object:
    """Return `value` as a value of JSON: a text is shortened to `most` characters, a float that is not finite
    becomes None, and of a list only the first 100 items are kept.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [plain(one, most) for one in value[:100]]
    text = text_of(value)
    if len(text) > most:
        text = text[: most - 1] + "…"
    # A surrogate (of a path that is no text) is no Unicode, and strict readers refuse its escape.
    return text.encode("utf-8", "backslashreplace").decode()


def timestamp(seconds: float) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC, with milliseconds."""
    second, microsecond = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(second)}.{microsecond // 1000:03}Z"


@functools.lru_cache(maxsize=4)  # many lines are of one second
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


def ended_fields(ended: Ended, now: float) -> dict[str, object]:
    """Return the fields of a connection or request that has ended `now`, in seconds since 1970."""
    is_connection = ended.what == "connection"
    then = timestamp(now)
    return {
        "@timestamp": then,
        "log.level": "info",
        "message": _message(ended),
        "ecs.version": VERSION,
        "event.kind": "event",
        "event.category": ["network"],
        "event.type": ["connection", "end"] if is_connection else ["protocol", "end"],
        "event.action": "connection-closed" if is_connection else "request-finished",
        "event.outcome": OUTCOMES.get(ended.cause, "failure"),
        "event.reason": str(ended.cause),
        "event.start": timestamp(now - ended.duration),
        "event.end": then,
        "event.duration": round(ended.duration * 1e9),
        "service.name": ended.server,
        **address_fields("client", ended.peer),
        **(address_fields("source", ended.neighbour) if ended.neighbour not in (None, ended.peer) else {}),
        **address_fields("server", ended.local),
        **network_fields(ended.peer),
        "client.bytes": ended.received,
        "server.bytes": ended.sent,
        **_tls_fields(ended),
        **_error_fields(ended.error),
        "process.pid": os.getpid(),
        "triosock.connection": ended.connection,
        "triosock.requests": ended.requests,
    }


def _message(ended: Ended) -> str:
    which = "connection" if ended.what == "connection" else "request on"
    return f"{which} {ended.connection} of {ended.peer} has ended: {ended.cause}"


def address_fields(side: str, address: Address | None) -> dict[str, object]:
    """Return the fields of an address that begin with `side` ("client", "server", "source")."""
    if isinstance(address, (TcpAddress, UdpAddress)):
        return {
            f"{side}.address": address.host,
            f"{side}.ip": address.host,
            f"{side}.port": address.port,
        }
    if isinstance(address, UnixAddress):
        return {f"{side}.address": address.path.replace("\0", "@", 1) or "unix:"}
    return {} if address is None else {f"{side}.address": address.name}


def network_fields(address: Address) -> dict[str, object]:
    """Return the fields for the transport and, for IP, its version."""
    if isinstance(address, MemoryAddress):
        return {"network.transport": "memory"}
    if isinstance(address, UnixAddress):
        return {"network.transport": "unix"}
    return {
        "network.transport": "tcp" if isinstance(address, TcpAddress) else "udp",
        "network.type": "ipv6" if ":" in address.host else "ipv4",
    }


def _tls_fields(ended: Ended) -> dict[str, object]:
    if ended.tls_version is None:
        return {}
    protocol, _, version = ended.tls_version.partition("v")  # "TLSv1.3"
    return {
        "tls.version": version or None,  # of DTLS it is not known
        "tls.version_protocol": protocol.lower(),
        "tls.cipher": ended.cipher,
        "tls.next_protocol": ended.alpn,
    }


def _error_fields(error: BaseException | None) -> dict[str, object]:
    return {} if error is None else {"error.type": type(error).__name__, "error.message": error_text(error)}
