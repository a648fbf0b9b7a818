"""The error for an option that a function does not have: it names the option that was meant.

The rule: **only names are looked at, before the function is called.** A TypeError that comes out of the
program's own code is never touched, and a right call costs one comparison of names.

Options are of the function itself, or of a group that it takes as one value: `Timeouts` and `Limits`. Other
libraries have other names for them. The table knows the usual ones, and a name that is nearly one of these is
taken for it.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FunctionType
from typing import Any, Final, TypeAlias, TypeVar, cast

#: A function or class, which stays what it is for type checkers.
F = TypeVar("F", bound=Callable[..., Any])
#: Raises TypeError for arguments that a function does not have.
Check: TypeAlias = Callable[[tuple[object, ...], Mapping[str, object]], None]

#: The fields of the groups: the option that takes the group, and how the group is written.
_groups: dict[str, tuple[str, str]] = {}
#: The checks of the functions. Not attributes of theirs, which `functools.wraps` gives to wrappers, too.
_checks: dict[FunctionType, Check] = {}

_CONTEXT: Final = "tls=an ssl.SSLContext with the certificate loaded, or triosock.Certificates(…)"
_OPENERS: Final = "it for open_tcp_listeners(), open_udp_sockets() or their kind, before"
_POLICY: Final = "`trio_policy = compat.Policy({})` in the server's class"

#: Names that other libraries have; a function that has this option, or takes a group with this field; and
#: what is to be written, None for that option itself.
_ELSEWHERE: Final = (
    ("timeout timeouts request_timeout", "poll_interval", _POLICY.format("request_timeout={value}")),
    ("limits max_connections max_requests", "poll_interval", _POLICY.format("max_requests={value}")),
    ("timeout idle_timeout read_timeout keepalive keep_alive keepalive_timeout", "idle", None),
    ("request_timeout handler_timeout", "request", None),
    ("send_timeout write_timeout", "send", None),
    ("handshake_timeout ssl_handshake_timeout", "handshake", None),
    ("close_timeout linger ssl_shutdown_timeout", "close", None),
    ("grace_period graceful_timeout shutdown_timeout drain_timeout", "grace", None),
    ("connections max_clients max_conns limit_concurrency max_concurrency", "max_connections", None),
    ("max_connections_per_ip max_per_ip", "max_connections_per_peer", None),
    ("rate_limit limit_rate max_rate requests_per_second", "request_rate", None),
    ("max_requests limit_max_requests", "max_requests_per_connection", None),
    ("ssl ssl_context sslcontext context tls_context certfile keyfile certificates", "tls", _CONTEXT),
    ("address addr server_address bind ip hostname interface", "host", None),
    ("host port address backlog mode reuse_port", "listeners", _OPENERS),
    ("host port address mode reuse_port", "sockets", _OPENERS),
    ("reuse_address reuse_addr allow_reuse_address", "backlog", "nothing: it is always so"),
    ("processes num_workers", "workers", None),
    ("error_handler exception_handler handle_error", "on_error", None),
    ("logger log", "observers", "observers=[triosock.observe.LogObserver(…)]"),
)


def explained(function: F) -> F:
    """Have a function answer calls with options that it does not have, or with one argument too many, by what
    was meant. Of a class, its constructor.
    """
    kind: object = function
    if isinstance(kind, type):
        kind.__init__ = _wrap(kind.__init__, kind.__name__)  # type: ignore[misc]
        return function
    return cast("F", _wrap(function, function.__name__))


def group(option: str) -> Callable[[F], F]:
    """Say that a class is the value of this option, in all functions that have it. It is `explained`."""

    def note(kind: F) -> F:
        _groups.update((name, (option, kind.__name__)) for name in inspect.signature(kind).parameters)
        return explained(kind)

    return note


def _wrap(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    check = _checker(function, name)

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        check(args, options)
        return function(*args, **options)

    @functools.wraps(function)
    async def call_async(*args: Any, **options: Any) -> Any:
        check(args, options)
        return await function(*args, **options)

    # What is async must be seen to be, and a traceback must say what was called.
    called: Callable[..., Any] = call_async if inspect.iscoroutinefunction(function) else call
    assert isinstance(called, FunctionType)
    called.__code__ = called.__code__.replace(co_name=name, co_qualname=name)
    _checks[called] = check
    return called


def _checker(function: Callable[..., Any], name: str) -> Check:
    parameters = inspect.signature(function).parameters.values()
    names = frozenset(one.name for one in parameters)
    by_position = [one.name for one in parameters if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    by_name = [one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY]
    most = len(by_position)

    def check(args: tuple[object, ...], options: Mapping[str, object]) -> None:
        if not options.keys() <= names:
            unknown = next(one for one in options if one not in names)
            raise TypeError(
                f"{name}() has no option {unknown!r}: {_advice(unknown, options[unknown], names, by_name)}"
            )
        if len(args) > most:
            shown = [one for one in by_position if one != "self"]
            taken = f"{len(shown)} positional arguments" + (f" ({', '.join(shown)})" if shown else "")
            named = ", ".join(f"{one}=…" for one in by_name[:2])
            raise TypeError(
                f"{name}() takes {taken}, and got {len(args) - most + len(shown)}: give the others by their "
                f"names, as in {named}"
            )

    return check


def check_call(
    caller: str, own: Collection[str], function: Callable[..., object], options: Mapping[str, object]
) -> None:
    """Raise TypeError if `function`, to which `caller` passes the options that are not its `own`, surely does
    not have one of them.
    """
    check = _checks.get(function) if isinstance(function, FunctionType) else None
    if check is not None:
        check((), options)
        return
    try:
        # A wrapper may have options that the function which it wraps does not have.
        parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
    except (TypeError, ValueError):
        return  # it has none that can be seen
    names = [one.name for one in parameters if one.kind in _BY_NAME]
    unknown = next((one for one in options if one not in names), None)
    if unknown is None or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return
    near = difflib.get_close_matches(unknown, [*own, *names], n=1)
    called = getattr(function, "__name__", repr(function))
    raise TypeError(
        f"{caller}() has no option {unknown!r}, and passes it on to {called}(), which has none either: "
        + (
            f"write {near[0]}={_shown(options[unknown])}"
            if near
            else f"it has {', '.join(names) or 'no options'}; {caller}() has {', '.join(own)}"
        )
    )


_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _advice(name: str, value: object, has: Collection[str], listed: Collection[str]) -> str:
    known = dict.fromkeys([*has, *_groups, *(one for row in _ELSEWHERE for one in row[0].split())])
    for one in (name, *difflib.get_close_matches(name, known, n=3, cutoff=0.75)):
        for meant in _meanings(one, has):
            return "write " + meant.replace("{value}", _shown(value))
    return f"it has {', '.join(one for one in listed if one != 'task_status') or 'none'}"


def _meanings(name: str, has: Collection[str]) -> Iterator[str]:
    """The options that a name may stand for in a call of a function that has these, the best first."""
    for option, meant in [(name, None), *((row[1], row[2]) for row in _ELSEWHERE if name in row[0].split())]:
        option_of_group, kind = _groups.get(option, ("", ""))
        if option in has:
            yield meant or f"{option}={{value}}"
        elif option_of_group in has:
            yield f"{option_of_group}=triosock.{kind}({option}={{value}})"


def _shown(value: object) -> str:
    """A value as the program may have written it; … for one that would be long."""
    return repr(value) if isinstance(value, (int, float, str)) and len(repr(value)) < 40 else "…"
