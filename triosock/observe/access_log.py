"""The access log: one line for each connection, or for each request, when it has ended.

A format is a text with variables, which have the names of nginx's variables where nginx has the same value;
or the word "json", for one object with the field names of `ecs.py`.

The invariants:

1. **A line is one line**: in a value, ``"``, ``\\``, control characters and bytes outside of ASCII are
   written as ``\\xXX``, as nginx does by default, and a value is shortened to 256 characters before that. A
   value that a peer has chosen can neither begin a line nor end a quote.
2. A format is parsed once, when the observer is made; an unknown variable raises ValueError then.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, final

from .._core.model.addresses import Address, TcpAddress, UdpAddress, UnixAddress
from .._core.model.events import Event
from .ecs import ended_fields, network_fields, to_line
from .ends import Ended, Ends, Kind
from .text import error_text

#: The example of nginx's manual for streams, with `$cause` for its `$status`.
CONNECTION_FORMAT: Final = (
    "$remote_addr:$remote_port [$time_iso8601] $protocol $cause $bytes_received $bytes_sent $session_time"
)
REQUEST_FORMAT: Final = "$remote_addr:$remote_port [$time_iso8601] $protocol $cause $request_time"
#: The longest value of a variable, in characters before they are escaped.
MAX_VALUE: Final = 256

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_VARIABLE: Final = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})|(\$)")

Value = Callable[[Ended, float], object]


@final
class AccessLog:
    """An observer that writes a line for each connection, or request, that has ended.

    Args:
      write: a function that is called with each line, without its newline; or a `logging.Logger`, which gets
        a record of level INFO with the line as its message, and its fields for `JsonFormatter`. The server
        calls it synchronously, so it must not block: a `LineWriter` does not, and a logger whose handlers may
        block needs a `logging.handlers.QueueHandler` in front of them.
      format: a text with the variables of `VARIABLES`, as ``$name`` or ``${name}``, and ``$$`` for a dollar;
        or "json". None for `CONNECTION_FORMAT` or `REQUEST_FORMAT`.
      of: "connections", or "requests", which include datagrams.

    Raises: ValueError for an unknown variable, or another `of`; TypeError for a `write` or `format` of
    another type.

    A connection is identified by the name of its server and its number. So servers that share one `AccessLog`
    need different names (``name=``); by default a server has the name of its first address.
    """

    def __init__(
        self,
        write: Callable[[str], object] | logging.Logger,
        *,
        format: str | None = None,
        of: Kind = "connections",
    ) -> None:
        self._ends = Ends(of)
        if not isinstance(write, logging.Logger) and not callable(write):
            raise TypeError(f"write must be a function of one line, or a logging.Logger, not {write!r}")
        self._write = write
        if format is None:
            format = CONNECTION_FORMAT if of == "connections" else REQUEST_FORMAT
        self._to_text: Callable[[Ended, float], str] = _as_json if format == "json" else parse_format(format)
        self.wants: tuple[type[Event], ...] = self._ends.wants

    def on_event(self, event: Event, /) -> None:
        """Write a line, if this event is the end of a connection or request."""
        ended = self._ends.take(event)
        if ended is None:
            return
        now = time.time()
        if not isinstance(self._write, logging.Logger):
            self._write(self._to_text(ended, now))
        elif self._write.isEnabledFor(logging.INFO):
            fields = {"triosock": event, "ecs": ended_fields(ended, now)}
            self._write.info("%s", self._to_text(ended, now), extra=fields)


def _as_json(ended: Ended, now: float) -> str:
    return to_line(ended_fields(ended, now))


def parse_format(text: str) -> Callable[[Ended, float], str]:
    """Return the function that writes a line of this format. Raises: ValueError, TypeError."""
    if not isinstance(text, str):
        raise TypeError(f"format must be a str, not {text!r}")
    if not text.isprintable():
        raise ValueError(f"format is one line of printable characters, not {text!r}")
    parts: list[str | Value] = []
    end = 0
    for match in _VARIABLE.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        parts.append("$" if match[1] else _variable(match[2] or match[3], text))
    parts.append(text[end:])

    def write(ended: Ended, now: float) -> str:
        return "".join(one if isinstance(one, str) else escape(one(ended, now)) for one in parts)

    return write


def _variable(name: str | None, text: str) -> Value:
    if name is None:
        raise ValueError(f"format: a $ of {text!r} is followed by no name; write $$ for a dollar")
    if name not in VARIABLES:
        raise ValueError(f"format: there is no ${name}; there are: {', '.join(sorted(VARIABLES))}")
    return VARIABLES[name]


def escape(value: object) -> str:
    """Return the text of a value, escaped for use between quotes in a line; "-" for None."""
    if value is None:
        return "-"
    text = str(value)
    if len(text) > MAX_VALUE:
        text = text[: MAX_VALUE - 3] + "..."
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    raw = text.encode("utf-8", "surrogateescape" if _is_path(text) else "backslashreplace")
    return "".join(chr(one) if 32 <= one < 127 and one not in b'"\\' else f"\\x{one:02X}" for one in raw)


def _is_path(text: str) -> bool:
    """Whether its surrogates stand for the bytes of a path, as `os.fsdecode` makes them."""
    return not any("\ud800" <= one < "\udc80" or "\udcff" < one <= "\udfff" for one in text)


def _host(address: Address | None) -> object:
    if isinstance(address, (TcpAddress, UdpAddress)):
        return address.host
    if isinstance(address, UnixAddress):
        return "unix:" + address.path.replace("\0", "@", 1)
    return None if address is None else address.name


def _port(address: Address | None) -> object:
    return address.port if isinstance(address, (TcpAddress, UdpAddress)) else None


def _time_local(ended: Ended, now: float) -> str:
    then = datetime.fromtimestamp(now).astimezone()
    return f"{then.day:02}/{_MONTHS[then.month - 1]}/{then:%Y:%H:%M:%S %z}"  # %b is of the locale


def _time_iso8601(ended: Ended, now: float) -> str:
    return _iso8601(int(now))


@functools.lru_cache(maxsize=1)  # many lines are of one second
def _iso8601(second: int) -> str:
    return datetime.fromtimestamp(second).astimezone().isoformat()


def _seconds(ended: Ended, now: float) -> str:
    return f"{ended.duration:.3f}"


#: The variables of a format. Those that nginx's stream and HTTP modules have too have the same names there.
VARIABLES: Final[dict[str, Value]] = {
    "remote_addr": lambda ended, now: _host(ended.peer),
    "remote_port": lambda ended, now: _port(ended.peer),
    "realip_remote_addr": lambda ended, now: _host(ended.neighbour),
    "realip_remote_port": lambda ended, now: _port(ended.neighbour),
    "server_addr": lambda ended, now: _host(ended.local),
    "server_port": lambda ended, now: _port(ended.local),
    "protocol": lambda ended, now: str(network_fields(ended.peer)["network.transport"]).upper(),
    "time_local": _time_local,
    "time_iso8601": _time_iso8601,
    "msec": lambda ended, now: f"{now:.3f}",
    "session_time": _seconds,
    "request_time": _seconds,
    "bytes_received": lambda ended, now: ended.received,
    "bytes_sent": lambda ended, now: ended.sent,
    "connection": lambda ended, now: ended.connection,
    "connection_requests": lambda ended, now: ended.requests,
    "pid": lambda ended, now: os.getpid(),
    "ssl_protocol": lambda ended, now: ended.tls_version,
    "ssl_cipher": lambda ended, now: ended.cipher,
    "ssl_alpn_protocol": lambda ended, now: ended.alpn,
    "server": lambda ended, now: ended.server,
    "cause": lambda ended, now: ended.cause,
    "error": lambda ended, now: error_text(ended.error),
}
