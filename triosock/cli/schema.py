"""The keys of a configuration file: one table, from which the JSON schema is generated too.

The rule: a section for a class has exactly the fields of that class, so that a new field needs no change
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias, final

import attrs

from .. import AdaptiveLimit, Limits, Recycle, Sessions, Supervision, Timeouts
from ..observe.ends import KINDS
from .observing import LOG_FORMATS


@final
@attrs.frozen
class Key:
    """A key: the JSON types of its value, its description, and the allowed words, if any."""

    types: tuple[str, ...]
    text: str
    words: tuple[str, ...] = ()


Section: TypeAlias = "Mapping[str, Key | Section]"

#: The key that stands for any name.
ANY: Final = "*"
_WORDS: Final = {
    "overflow": ("wait", "reject"),
    "drop": ("newest", "oldest"),
    "request_overflow": ("wait", "reject"),
    "when_full": ("refuse", "evict"),
}


#: The fields of `Limits` that are a `Rate`.
RATES: Final = frozenset(
    f"{kind}rate{whose}"
    for kind in ("", "request_", "datagram_")
    for whose in ("", "_per_peer", "_per_network")
)
_RATE: Final = "COUNT/PERIOD:BURST, such as 20/s:40, 100/10s or 600/m"

#: Descriptions of fields that differ from the others of their class.
_MEANINGS: Final = {"max_age_jitter": "a share of max_age, from 0 to 1", "max_lag": "seconds, or inf"}


def _of(kind: type[attrs.AttrsInstance], what: str) -> dict[str, Key | Section]:
    keys: dict[str, Key | Section] = {}
    for field in attrs.fields(kind):
        text = f"triosock.{kind.__name__}.{field.name}: {_MEANINGS.get(field.name, what)}"
        if field.name == "adaptive":
            keys[field.name] = _of(AdaptiveLimit, "a number")
        elif field.name in _WORDS:
            words = _WORDS[field.name]
            text = f"triosock.{kind.__name__}.{field.name}: {' or '.join(words)}"
            keys[field.name] = Key(("string",), text, words)
        elif field.name in RATES:
            keys[field.name] = Key(("string",), f"triosock.{kind.__name__}.{field.name}: {_RATE}")
        elif isinstance(field.default, tuple):
            keys[field.name] = Key(("array",), text)
        else:
            keys[field.name] = Key(("number",), text)
    return keys


#: One of the certificates of `triosock.Certificates`.
CERTIFICATE: Final[dict[str, Key]] = {
    "certificate": Key(
        ("string",), "file of the certificate chain (PEM), relative to the folder of this file"
    ),
    "key": Key(("string",), "file of the key (PEM), if it is not in the same one"),
    "password_file": Key(("string",), "file whose first line is the password of the key"),
}

ENDPOINT: Final[Section] = {
    "address": Key(
        ("string",), "tcp://HOST:PORT, unix:///PATH, unix://@NAME, udp://HOST:PORT, fd://NAME, stdio:"
    ),
    "handler": Key(("string",), "module:name of an async function (of a connection or datagram), or a class"),
    "proxy": Key(("boolean",), "expect a PROXY protocol header first"),
    "mode": Key(("string",), "permissions of a Unix socket's file, in octal, such as 600"),
    "limits": _of(Limits, "a number, or inf"),
    "timeouts": _of(Timeouts, "seconds, or inf"),
    "sessions": _of(Sessions, "sessions of UDP peers, each with a task"),
    "tls": {
        **CERTIFICATE,
        "certificates": {ANY: {**CERTIFICATE, "names": Key(("array",), "server names, instead of its own")}},
        "handlers": {ANY: Key(("string",), "module:name of the handler of this protocol (ALPN)")},
        "roots": Key(("string",), "file of root certificates (PEM); each chain must lead to one of them"),
        "strict": Key(("boolean",), "refuse clients that ask for a name without a certificate"),
        "check_dates": Key(
            ("boolean",), "refuse certificates that have expired or are not valid yet; true by default"
        ),
        "check_every": Key(("number",), "check for changed files every so many seconds; inf by default"),
    },
}
SERVICE: Final[Section] = {
    "workers": Key(("integer", "string"), "number of processes, or auto; without it, one process", ("auto",)),
    "grace": Key(("number",), "seconds that a drain may take"),
    "delay": Key(("number",), "seconds from the first signal to the drain, while /ready is 503"),
    "health": Key(("string",), "tcp://HOST:PORT or unix:///PATH of GET /live and GET /ready (needs h11)"),
    "log_level": Key(("string",), "the least level that is logged", ("debug", "info", "warning", "error")),
    "control": Key(("string",), "path of a Unix socket for python -m triosock top"),
    "control_verbs": Key(("boolean",), "allow triosock tell to drain, restart, suspend and cut"),
    "observe": {
        "log_format": Key(("string",), "format of the log; json has the field names of ECS", LOG_FORMATS),
        "access_log": Key(("string",), "file for a line for each connection that has ended; - is stdout"),
        "access_log_format": Key(
            ("string",), "format of these lines, with variables such as $remote_addr; or json"
        ),
        "access_log_of": Key(("string",), "one line for each of these", KINDS),
        "blocked_after": Key(("number",), "log a task that blocks the event loop for so many seconds"),
        "opentelemetry": Key(("boolean",), "trace and measure by OpenTelemetry's API (an extra)"),
    },
    "supervision": _of(Supervision, "how failing workers are treated"),
    "recycle": _of(Recycle, "when healthy workers are replaced"),
    "endpoints": {ANY: ENDPOINT},
}


#: A JSON schema, as json.dumps() takes it.
Schema: TypeAlias = dict[str, Any]


def json_schema() -> Schema:
    """Return the JSON schema (draft 2020-12) of a configuration file."""
    schema = _object(SERVICE)
    schema["required"] = ["endpoints"]
    schema["properties"]["endpoints"]["minProperties"] = 1
    schema["properties"]["endpoints"]["additionalProperties"]["required"] = ["address", "handler"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "triosock serve --config",
        **schema,
    }


def _object(section: Section) -> Schema:
    properties = {name: _schema(one) for name, one in section.items() if name != ANY}
    other = _schema(section[ANY]) if ANY in section else False
    return {"type": "object", "properties": properties, "additionalProperties": other}


def _schema(one: Key | Section) -> Schema:
    if not isinstance(one, Key):
        return _object(one)
    kinds: list[Schema] = [{"type": kind} for kind in one.types]
    for kind in kinds:
        if one.words and kind["type"] == "string":
            kind["enum"] = list(one.words)
    return {"description": one.text, **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})}
