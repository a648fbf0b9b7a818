"""Reads a configuration file in TOML. Errors name the line.

The rules:

1. **An unknown key is an error** and never ignored: a misspelt limit would not be a limit.
2. **Every error names the file, the line and the key**, and what was wanted. The parser of the standard
   library gives no line numbers, so they are found by a search for the key in the text.
3. Each value is first checked alone by its class, so that the error can name its line.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

from .. import AdaptiveLimit, CertificateFiles, Limits, Rate, Recycle, Sessions, Supervision, Timeouts
from .._core.model.checks import check_seconds
from .._core.stream.by_protocol import check_protocol
from ..workers.endpoints import check_endpoint_name
from .arguments import OperatingSystemError, UsageError, permissions, read_password
from .config import EndpointConfig, ServiceConfig, TlsConfig, control_path, health_endpoint, parse_endpoint
from .observing import Observing, file_path
from .schema import ANY, CERTIFICATE, RATES, SERVICE, Key, Section

T = TypeVar("T")
Path = tuple[str, ...]
_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
}


def read_config(path: str | os.PathLike[str]) -> ServiceConfig:
    """Return the configuration in a file.

    Raises: UsageError, with the line; OperatingSystemError if the file cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise OperatingSystemError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    content = _parse(str(path), text)
    return _Reader(str(path), text).service(content)


def _parse(name: str, text: str) -> Table:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also for an int of thousands of digits, arrays in arrays
        found = re.search(r"\(at line (\d+)", str(error))
        raise UsageError(f"{name}:{found[1] if found else '?'}: {error}") from None


#: A table from tomllib. Its keys and the types of its values are checked before they are used.
Table: TypeAlias = Mapping[str, Any]


class _Reader:
    """Makes values from parsed TOML. It has the text too, for line numbers."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text

    def error_at(self, path: Path, what: object) -> UsageError:
        return UsageError(f"{self._place(path)}: {what}")

    def _place(self, path: Path) -> str:
        return f"{self._name}:{find_line(self._text, path)}"

    def service(self, content: Table) -> ServiceConfig:
        self._check(content, SERVICE, ())
        endpoints = content.get("endpoints")
        if not endpoints:
            raise self.error_at((), "there must be at least one section such as [endpoints.web]")
        health, control = content.get("health"), content.get("control")
        made: ServiceConfig = self._try(
            (),
            ServiceConfig,
            endpoints=tuple(self._endpoint(name, fields) for name, fields in endpoints.items()),
            workers=self._workers(content.get("workers")),
            grace=self._seconds(content, "grace"),
            delay=self._seconds(content, "delay"),
            health=None if health is None else self._try(("health",), health_endpoint, health),
            log_level=content.get("log_level", "info"),
            control=None if control is None else self._try(("control",), control_path, control),
            control_verbs=content.get("control_verbs", False),
            observe=self._make(Observing, content, ("observe",)),
            supervision=self._make(Supervision, content, ("supervision",)),
            recycle=self._make(Recycle, content, ("recycle",)),
        )
        return made

    def _seconds(self, content: Table, name: str) -> float | None:
        value = content.get(name)
        return None if value is None else self._try((name,), check_seconds, value, name, zero=True)

    def _workers(self, value: object) -> object:
        if isinstance(value, int) and value < 1:
            raise self.error_at(("workers",), f"workers must be from 1 on, or 'auto', not {value}")
        return value

    def _endpoint(self, name: str, fields: Table) -> EndpointConfig:
        path = ("endpoints", name)
        self._try(path, check_endpoint_name, name)
        for wanted in ("address", "handler"):
            if wanted not in fields:
                raise self.error_at(path, f"[endpoints.{name}] needs a key {wanted!r}")
        mode = fields.get("mode")
        made: EndpointConfig = self._try(
            path,
            EndpointConfig,
            name=name,
            where=self._try((*path, "address"), parse_endpoint, fields["address"]),
            handler=fields["handler"],
            handler_key=f"{self._place((*path, 'handler'))}: handler",
            limits=self._make(Limits, fields, (*path, "limits")),
            timeouts=self._make(Timeouts, fields, (*path, "timeouts")),
            sessions=self._make(Sessions, fields, (*path, "sessions")) if "sessions" in fields else None,
            tls=self._tls(fields["tls"], (*path, "tls")) if "tls" in fields else None,
            proxy=fields.get("proxy", False),
            mode=None if mode is None else self._try((*path, "mode"), permissions, mode),
        )
        return made

    def _tls(self, fields: Table, path: Path) -> TlsConfig:
        """Make the certificates of an endpoint: first that of the section itself, then those of its
        sub-sections.
        """
        options = dict(fields)
        more = options.pop("certificates", {})
        first = {name: options.pop(name) for name in CERTIFICATE if name in options}
        certificates = [self._certificate(first, path)] if first else []
        for name, one in more.items():
            certificates.append(self._certificate(one, (*path, "certificates", name)))
        if not certificates:
            raise self.error_at(path, f"[{'.'.join(path)}] needs a key 'certificate'")
        if "check_every" in options:
            self._try((*path, "check_every"), check_seconds, options["check_every"], "check_every", zero=True)
        options["roots"] = self._file(options, "roots", path)
        options["handler_keys"] = self._protocols(options.get("handlers", {}), (*path, "handlers"))
        made: TlsConfig = self._try(path, TlsConfig, certificates=tuple(certificates), **options)
        return made

    def _protocols(self, handlers: Table, path: Path) -> dict[str, str]:
        """Check the names of protocols; return where the handler of each is written."""
        for protocol in handlers:
            self._try((*path, protocol), check_protocol, protocol)
        return {one: f"{self._place((*path, one))}: {one}" for one in handlers}

    def _certificate(self, fields: Table, path: Path) -> CertificateFiles:
        if "certificate" not in fields:
            raise self.error_at(path, f"[{'.'.join(path)}] needs a key 'certificate', the file of the chain")
        made: CertificateFiles = self._try(
            path,
            CertificateFiles,
            self._file(fields, "certificate", path),
            self._file(fields, "key", path),
            password=read_password(self._file(fields, "password_file", path)),
            names=fields.get("names", ()),
        )
        return made

    def _file(self, fields: Table, name: str, path: Path) -> str | None:
        """Return the path of a file, which is relative to the folder of the configuration; None if it is not
        given.
        """
        if name not in fields:
            return None
        return os.path.join(os.path.dirname(self._name), self._try((*path, name), file_path, fields[name]))

    def _try(self, path: Path, make: Callable[..., T], *args: object, **options: object) -> T:
        try:
            return make(*args, **options)
        except (TypeError, ValueError) as error:
            named = not path or path[-1] in str(error)
            raise self.error_at(path, error if named else f"{path[-1]}: {error}") from None

    def _make(self, kind: type[T], fields: Table, path: Path) -> T:
        values = {name: self._value((*path, name), value) for name, value in fields.get(path[-1], {}).items()}
        for name, value in values.items():
            self._try((*path, name), kind, **{name: value})
        return self._try(path, kind, **values)

    def _value(self, path: Path, value: object) -> object:
        """Convert a value to the type that its class takes, if TOML has no such type."""
        if path[-1] in RATES:
            return self._try(path, Rate.parse, value)
        if path[-1] == "adaptive":
            return self._make(AdaptiveLimit, {"adaptive": value}, path)
        return tuple(value) if isinstance(value, list) else value

    def _check(self, fields: Table, section: Section, path: Path) -> None:
        """Raise UsageError for the first key that is unknown, or whose value has the wrong type."""
        for name, value in fields.items():
            here = (*path, name)
            known = section.get(name, section.get(ANY))
            if known is None:
                where = f" in [{'.'.join(path)}]" if path else ""
                raise self.error_at(here, f"unknown key {name!r}{where}; there are: {', '.join(section)}")
            if not isinstance(known, Key):
                if not isinstance(value, dict):
                    raise self.error_at(here, f"{name} must be a section, [{'.'.join(here)}], not a value")
                self._check(value, known, here)
            else:
                self._check_value(value, known, here)

    def _check_value(self, value: object, key: Key, path: Path) -> None:
        fitting = [
            kind
            for kind in key.types
            if isinstance(value, _PYTHON_TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
        ]
        if not fitting:
            raise self.error_at(
                path, f"{path[-1]} must be a {' or '.join(key.types)}, not {value!r}: {key.text}"
            )
        if isinstance(value, str) and key.words and value not in key.words:
            raise self.error_at(path, f"{path[-1]} must be one of {', '.join(key.words)}, not {value!r}")


_TABLE = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def find_line(text: str, path: Path) -> int:
    """Return the number of the line, from 1 on, that sets `path`: the one with the longest prefix of it."""
    table: Path = ()
    best, line_of_best = 0, 1
    for number, line in enumerate(text.splitlines(), 1):
        if match := _TABLE.match(line):
            here = table = _parts(match[1])
        elif match := _KEY.match(line):
            here = table + _parts(match[1])
        else:
            continue
        length = len(here) if path[: len(here)] == here else 0
        if length > best:
            best, line_of_best = length, number
    return line_of_best


def _parts(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))
