"""`python -m triosock serve ADDRESS --handler module:function`: one server, until a signal drains it.

The log goes to stderr, and so does the report at the end. What signals do: see `triosock.run`.
"""

from __future__ import annotations

import argparse
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from .. import (
    AddressUnavailable,
    Connection,
    DrainReport,
    Limits,
    TcpAddress,
    Timeouts,
    UnixAddress,
    serve_tcp,
    serve_unix,
)
from .. import run as run_program
from .arguments import (
    MachineRefused,
    Mistake,
    limit,
    load_handler,
    load_tls,
    permissions,
    stream_address,
    timeout,
    typed,
)

_LIMITS = {
    "max_connections": "serve at most N at once (default 16384); the others wait",
    "max_connections_per_peer": "serve at most N of one address or user at once; the others are refused",
}
_TIMEOUTS = {
    "grace": "let busy clients finish for so long after the first signal (default 15)",
    "idle": "end a connection that is idle for so long (default 1800)",
    "request": "end a connection whose request takes longer (default inf)",
    "send": "end a connection whose client takes nothing for so long (default 60)",
    "handshake": "end a connection whose TLS handshake takes longer (default 10)",
}
_LEVELS = ("debug", "info", "warning", "error")


def add_parser(commands: Any) -> None:
    """Add `serve` and its arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "serve",
        help="serve connections with a handler",
        description="Serve each connection with a handler, in a task of its own. The first SIGTERM or SIGINT "
        "drains: busy clients may finish, idle ones are sent home. A second one ends everything at once.",
        epilog="example: python -m triosock serve tcp://127.0.0.1:9999 --handler triosock.cli.handlers:echo",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "address",
        metavar="ADDRESS",
        type=typed(stream_address),
        help="tcp://HOST:PORT (an IPv6 host in brackets, * for all addresses, port 0 for any free one), "
        "unix:///PATH, or unix://@NAME",
    )
    parser.add_argument(
        "--handler",
        metavar="MODULE:NAME",
        required=True,
        help="an async function of one connection, or a StreamHandler class",
    )
    for name, text in _LIMITS.items():
        parser.add_argument(_flag(name), metavar="N", type=limit(name), help=text)
    for name, text in _TIMEOUTS.items():
        flag = "--grace" if name == "grace" else f"--{name}-timeout"
        parser.add_argument(flag, dest=name, metavar="SECONDS", type=timeout(name), help=text)
    parser.add_argument("--tls-cert", metavar="FILE", help="serve TLS, with this certificate chain (PEM)")
    parser.add_argument("--tls-key", metavar="FILE", help="its key (PEM), if it is not in the same file")
    parser.add_argument(
        "--mode", type=typed(permissions), help="permissions of a Unix socket's file, in octal, such as 600"
    )
    parser.add_argument(
        "--proxy", action="store_true", help="expect a PROXY protocol header before each connection"
    )
    parser.add_argument("--log-level", choices=_LEVELS, default="info", help="default: info")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def run(arguments: argparse.Namespace) -> int:
    """Serve until drained; return the exit code.

    Raises: Mistake, MachineRefused; SystemExit after a second signal.
    """
    if isinstance(arguments.address, TcpAddress) and arguments.mode is not None:
        raise Mistake("--mode is for the file of a unix:// address")
    serve = _bind(
        arguments.address,
        load_handler(arguments.handler),
        mode=arguments.mode,
        limits=Limits(**_given(arguments, _LIMITS)),
        timeouts=Timeouts(**_given(arguments, _TIMEOUTS)),
        tls=load_tls(arguments.tls_cert, arguments.tls_key),
        proxy=arguments.proxy,
    )
    logging.basicConfig(level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    try:
        run_program(serve, grace=arguments.grace)
    except (AddressUnavailable, socket.gaierror) as error:
        raise MachineRefused(f"{arguments.address}: {error.strerror}") from None
    return 0


def _given(arguments: argparse.Namespace, names: dict[str, str]) -> dict[str, Any]:
    """Return those of the options that are on the command line."""
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def _bind(
    address: TcpAddress | UnixAddress,
    handler: Callable[[Connection], Awaitable[object]],
    *,
    mode: int | None,
    **options: Any,
) -> Callable[[], Awaitable[DrainReport]]:
    """Return `serve_tcp` or `serve_unix`, whichever fits the address, with all its arguments."""
    if isinstance(address, UnixAddress):
        return partial(serve_unix, handler, address.path, mode=mode, **options)
    host = f"{address.host}%{address.scope_id}" if address.scope_id else address.host
    return partial(serve_tcp, handler, address.port, host=None if host == "*" else host, **options)
