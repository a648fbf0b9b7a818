"""Parses the words of a command line into values, for all sub-commands.

The rule: a wrong argument is found before anything is opened, and raises `UsageError`, or argparse's own
error (exit code 2). An error of the operating system raises `OperatingSystemError` (exit code 1). Any other
exception is a bug of this program or of the user's module, and its traceback is printed.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .. import CertificateRefused, Certificates, DatagramHandler, Limits, StreamHandler, Timeouts
from .._core.listeners.unix import check_mode
from .._core.server.arguments import check_async
from .._core.server.handler_run import AnyHandler

if TYPE_CHECKING:
    from .config import TlsConfig

Value = TypeVar("Value")


#: The object to which sub-commands are added, from `ArgumentParser.add_subparsers()`.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class UsageError(Exception):
    """The command line or the configuration file is wrong."""


class OperatingSystemError(Exception):
    """The operating system refused a request, such as opening a file or an address."""


def typed(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Return `parse` for argparse's `type=`, which then shows the text of its TypeError or ValueError."""

    def convert(word: str) -> Value:
        try:
            return parse(word)
        except (TypeError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def limit(name: str) -> Callable[[str], float]:
    """Return a parser for one of the counts of `Limits`: an int, or inf."""

    def parse(word: str) -> float:
        number: Any = math.inf if word == "inf" else int(word)
        value: float = getattr(Limits(**{name: number}), name)
        return value

    return typed(parse)


def timeout(name: str) -> Callable[[str], float]:
    """Return a parser for one of the `Timeouts`: seconds, or inf."""

    def parse(word: str) -> float:
        value: float = getattr(Timeouts(**{name: float(word)}), name)
        return value

    return typed(parse)


def permissions(word: str) -> int:
    """Parse permission bits in octal, as for chmod(1)."""
    try:
        mode = int(word, 8)
    except ValueError:
        raise ValueError(f"permissions are written in octal, such as 600, not {word!r}") from None
    check_mode(mode)
    return mode


def load_handler(word: str, key: str = "--handler") -> AnyHandler:
    """Import ``module:function``, from the working directory first; for a `StreamHandler` or
    `DatagramHandler` return its `serve`.

    Args: `key`, where `word` was written, for errors.

    Raises: UsageError if the module or the name does not exist, or is no async function. Exceptions of the
    module's own code are not caught: its author needs the traceback.
    """
    module_name, colon, path = word.partition(":")
    if not (module_name and colon and path) or module_name.startswith("."):
        raise UsageError(
            f"{key} is written module:function, such as triosock.cli.handlers:echo, not {word!r}"
        )
    found = _import(module_name, key)
    for name in path.split("."):
        if not hasattr(found, name):
            raise UsageError(f"{key}: the module {module_name!r} has nothing named {path!r}")
        found = getattr(found, name)
    if isinstance(found, type) and issubclass(found, (StreamHandler, DatagramHandler)):
        return found.serve
    try:
        handler: AnyHandler = check_async(key, found, "one connection", count=1)
    except TypeError as error:
        raise UsageError(str(error)) from None
    return handler


def _import(module_name: str, key: str) -> Any:
    if os.getcwd() not in sys.path:
        # `python -m` adds it itself; the console script must find the same modules.
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not f"{module_name}.".startswith(f"{missing}."):
            raise  # the module exists, but one of its own imports does not
        raise UsageError(
            f"{key}: there is no module {missing!r}, neither in the working directory nor installed"
        ) from None


def read_password(path: str | None) -> Callable[[], str] | None:
    """Return a function that reads the first line of this file, the password of a key; None for None."""
    if path is None:
        return None

    def read() -> str:
        with open(path, encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")

    return read


def load_tls(config: TlsConfig | None) -> Certificates | None:
    """Load the certificates of an endpoint; None if it has none. Raises: OperatingSystemError."""
    if config is None:
        return None
    try:
        return Certificates(
            *config.certificates,
            roots=config.roots,
            strict=config.strict,
            check_dates=config.check_dates,
            check_every=config.check_every,
        )
    except CertificateRefused as error:
        raise OperatingSystemError(f"cannot use the certificate and key in {error}") from None
