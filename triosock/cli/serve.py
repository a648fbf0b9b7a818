"""`python -m triosock serve ENDPOINT… --handler module:name`, or `--config FILE`: serves until a signal
drains it.

The log and the final report go to stderr. `triosock.run` documents the signals, and `triosock.serve_workers`
those with `--workers`.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from .. import AddressUnavailable, CertificateFiles, Limits, Rate, Timeouts, UnixAddress, WorkersFailed
from .. import run as run_program
from .._core.listeners.stdio import stderr_is_stdin
from .._core.listeners.systemd import NotHandedDown
from .._core.model.checks import check_seconds
from ..observe.ends import KINDS
from ..workers.program import print_stacks_if_blocked
from .arguments import (
    Commands,
    OperatingSystemError,
    UsageError,
    limit,
    permissions,
    timeout,
    typed,
)
from .config import EndpointConfig, ServiceConfig, TlsConfig, control_path, health_endpoint, parse_endpoint
from .config_file import read_config
from .observing import LOG_FORMATS, Observing
from .output import say
from .running import forget_other_worker, is_worker, prepare, serve_here, serve_in_workers

_LIMITS = {
    "max_connections": "serve at most N connections at once (default 16384); others wait",
    "max_connections_per_peer": "serve at most N of one address or user at once; others are refused",
}
_RATES = {
    "rate": "limit the rate of new connections; others wait",
    "rate_per_peer": "limit the rate of new connections of one address or user; others are refused",
    "rate_per_network": "limit the rate of new connections of one network (IPv4 /24, IPv6 /56)",
    "request_rate_per_peer": "limit the rate of requests of one address or user; others wait",
    "datagram_rate_per_peer": "limit the rate of datagrams of one address; others are dropped",
}
_TIMEOUTS = {
    "grace": "let busy connections finish for this time after the first signal (default 15)",
    "idle": "end a connection that is idle for this time (default 1800)",
    "request": "end a connection whose request takes longer (default inf)",
    "send": "end a connection whose client reads nothing for this time (default 60)",
    "handshake": "end a connection whose TLS handshake takes longer (default 10)",
}
_OBSERVING = tuple(field.name for field in attrs.fields(Observing))
_OF_SERVICE = ("workers", "grace", "delay", "log_level", "control", "control_verbs", "health")
_LEVELS = ("debug", "info", "warning", "error")


def add_parser(commands: Commands) -> None:
    """Add `serve` and its arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "serve",
        help="serve connections with a handler",
        description="Serve each connection with a handler, in its own task. The first SIGTERM or SIGINT "
        "drains: idle connections end, busy ones may finish. A second signal ends everything at once.",
        epilog="example: python -m triosock serve tcp://127.0.0.1:9999 --handler triosock.cli.handlers:echo",
    )
    parser.set_defaults(run=run, parser=parser)
    _add_service(parser)
    _add_operating(parser)
    _add_amounts(parser)
    _add_transport(parser)
    _add_observing(parser)


def _add_service(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "endpoints",
        metavar="ENDPOINT",
        nargs="*",
        type=typed(parse_endpoint),
        help="tcp://HOST:PORT (an IPv6 host in brackets, * for all addresses, port 0 for any free one), "
        "unix:///PATH, unix://@NAME, udp://HOST:PORT, fd://NAME for a socket that a service manager has "
        "passed, or stdio: for standard input and output (inetd's nowait, Accept=yes)",
    )
    parser.add_argument(
        "--handler",
        metavar="MODULE:NAME",
        help="an async function of one connection (of one datagram for udp://), or a StreamHandler or "
        "DatagramHandler class",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="read everything from a TOML file instead; errors name the line"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="check the arguments or the file, including handlers, and serve nothing",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=typed(_workers),
        help="serve with N processes; auto is one for each processor. SIGHUP restarts them one by one",
    )


def _add_transport(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tls-cert", metavar="FILE", help="serve TLS with this chain (PEM); SIGHUP reloads it"
    )
    parser.add_argument(
        "--tls-key", metavar="FILE", help="the key of the certificate (PEM), if it is not in the same file"
    )
    parser.add_argument(
        "--mode", type=typed(permissions), help="permissions of a Unix socket's file, in octal, such as 600"
    )
    parser.add_argument(
        "--proxy", action="store_true", help="expect a PROXY protocol header before each connection"
    )


def _add_operating(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--control",
        metavar="PATH",
        type=typed(control_path),
        help="open a Unix socket with this path for `triosock top`",
    )
    parser.add_argument(
        "--control-verbs",
        action="store_true",
        help="allow `triosock tell` there: drain, restart, suspend, resume, cut (with --workers)",
    )
    parser.add_argument(
        "--health",
        metavar="ENDPOINT",
        type=typed(health_endpoint),
        help="answer GET /live and GET /ready at tcp://HOST:PORT or unix:///PATH (needs h11)",
    )
    parser.add_argument(
        "--delay",
        metavar="SECONDS",
        type=typed(_delay),
        help="begin the drain this time after the first signal; until then /ready is 503",
    )


def _delay(word: str) -> float:
    return check_seconds(float(word), "delay", zero=True)


def _add_observing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log-level", choices=_LEVELS, default="info", help="default: info")
    parser.add_argument(
        "--log-format", choices=LOG_FORMATS, help="default: text; json has the field names of ECS"
    )
    _add_access_log(parser)
    parser.add_argument(
        "--blocked-after",
        metavar="SECONDS",
        type=_observed("blocked_after", float),
        help="log a task that blocks the event loop for this time, with its stack",
    )
    parser.add_argument(
        "--opentelemetry",
        action="store_true",
        default=None,
        help="trace and measure by OpenTelemetry's API; its SDK must be set up by the program",
    )


def _add_access_log(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--access-log",
        metavar="FILE",
        type=_observed("access_log", str),
        help="write a line for each connection that has ended; - is stdout",
    )
    parser.add_argument(
        "--access-log-format",
        metavar="FORMAT",
        type=_observed("access_log_format", str),
        help="the format of these lines, with variables such as $remote_addr and $session_time; or json",
    )
    parser.add_argument(
        "--access-log-of", choices=KINDS, help="write a line for each of these (default connections)"
    )


def _observed(name: str, convert: Callable[[str], object]) -> Callable[[str], object]:
    """Return a parser for one of the options of `Observing`."""

    def parse(word: str) -> object:
        options: dict[str, Any] = {name: convert(word)}
        return getattr(Observing(**options), name)

    return typed(parse)


def _add_amounts(parser: argparse.ArgumentParser) -> None:
    """Add the limits, rates and timeouts."""
    for name, text in _LIMITS.items():
        parser.add_argument(_flag(name), metavar="N", type=limit(name), help=text)
    for name, text in _RATES.items():
        parser.add_argument(_flag(name), metavar="N/s[:BURST]", type=typed(Rate.parse), help=text)
    for name, text in _TIMEOUTS.items():
        flag = "--grace" if name == "grace" else f"--{name}-timeout"
        parser.add_argument(flag, dest=name, metavar="SECONDS", type=timeout(name), help=text)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _workers(word: str) -> int | str:
    if word == "auto":
        return word
    if not word.isdecimal() or int(word) < 1:
        raise ValueError(f"write a number from 1 on, or auto, not {word!r}")
    return int(word)


def run(arguments: argparse.Namespace) -> int:
    """Serve until drained; return the exit code.

    Raises: UsageError, OperatingSystemError; SystemExit after a second signal.
    """
    config = _from_arguments(arguments) if arguments.config is None else _from_file(arguments)
    if arguments.check:
        prepare(config)
        say(f"{arguments.config or 'the command line'}: {len(config.endpoints)} endpoints, no mistake found")
        return 0
    forget_other_worker()
    if is_worker():
        print_stacks_if_blocked()
    number = f"worker {os.environ['TRIOSOCK_WORKER']}: " if is_worker() else ""
    # inetd connects stderr to the client too, so the log must not go there.
    has_stderr = not (config.is_stdio and stderr_is_stdin())
    handler = config.observe.log_handler(number, has_stderr=has_stderr)
    logging.basicConfig(level=config.log_level.upper(), handlers=[handler])
    how: dict[str, Any] = {"grace": config.grace, "delay": config.delay}
    try:
        if config.workers is not None and not is_worker():
            run_program(serve_in_workers, config, arguments.words, **how)
        else:
            control = None if is_worker() else config.control
            run_program(serve_here, config, prepare(config), control=control, **how)
    except (AddressUnavailable, socket.gaierror) as error:
        health = [] if config.health is None else [config.health]
        where = ", ".join([*(str(one.where) for one in config.endpoints), *health])
        raise OperatingSystemError(f"{where}: {error.strerror}") from None
    except (WorkersFailed, NotHandedDown) as failure:
        raise OperatingSystemError(str(failure).removeprefix("names: ")) from None
    return 0


def _from_file(arguments: argparse.Namespace) -> ServiceConfig:
    beside = {"config", "check", "command", "words", "run", "parser"}
    given = [
        name
        for name, value in vars(arguments).items()
        if name not in beside and value not in (arguments.parser.get_default(name), [])
    ]
    if given:
        raise UsageError(f"--config cannot be combined with other options: leave out {', '.join(given)}")
    return read_config(arguments.config)


def _from_arguments(arguments: argparse.Namespace) -> ServiceConfig:
    if not arguments.endpoints or arguments.handler is None:
        raise UsageError("the following arguments are required: ENDPOINT, --handler (or --config)")
    if arguments.mode is not None and not any(isinstance(one, UnixAddress) for one in arguments.endpoints):
        raise UsageError("--mode is for the file of a unix:// address")
    if arguments.tls_key is not None and arguments.tls_cert is None:
        raise UsageError("--tls-key needs --tls-cert: give the file of the certificate chain")
    options = {
        "handler": arguments.handler,
        "limits": Limits(**_given(arguments, _LIMITS), **_given(arguments, _RATES)),
        "timeouts": Timeouts(**_given(arguments, _TIMEOUTS)),
        "tls": _tls(arguments),
        "proxy": arguments.proxy,
    }
    try:
        endpoints = []
        for index, where in enumerate(arguments.endpoints, 1):
            mode = arguments.mode if isinstance(where, UnixAddress) else None
            endpoints.append(EndpointConfig(name=f"endpoint{index}", where=where, mode=mode, **options))
        return ServiceConfig(
            endpoints=tuple(endpoints),
            observe=_observing(arguments),
            **{name: getattr(arguments, name) for name in _OF_SERVICE},
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def _observing(arguments: argparse.Namespace) -> Observing:
    try:
        return Observing(**_given(arguments, _OBSERVING))
    except ValueError as error:
        raise UsageError(str(error)) from None


def _tls(arguments: argparse.Namespace) -> TlsConfig | None:
    if arguments.tls_cert is None:
        return None
    return TlsConfig(certificates=(CertificateFiles(arguments.tls_cert, arguments.tls_key),))


def _given(arguments: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Return the options among `names` that are on the command line."""
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}
