"""The checks that all of `serve_*` make of their arguments, before anything is opened.

An error names the argument, what was wanted, and what was given.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Final, TypeVar

T = TypeVar("T")

#: What one number alone would mean.
_USUAL: Final = {"limits": "max_connections", "timeouts": "idle"}


def check_value(argument: str, value: object, kind: type[T]) -> T:
    """Return `value` if it is a `kind`, and a default one for None; TypeError, naming the argument,
    otherwise.
    """
    if value is None:
        return kind()
    if not isinstance(value, kind):
        # A number is taken for the option that is asked for most; a dict has the names of all.
        if isinstance(value, (int, float)) and argument in _USUAL:
            instead = f": write {argument}=triosock.{kind.__name__}({_USUAL[argument]}={value!r})"
        elif isinstance(value, dict):
            instead = f": write {argument}=triosock.{kind.__name__}(**…)"
        else:
            instead = ""
        raise TypeError(f"{argument} must be a triosock.{kind.__name__}(…), not {value!r}{instead}")
    return value


def check_name(name: object) -> str:
    """Return `name` if it is a str; TypeError otherwise."""
    if not isinstance(name, str):
        raise TypeError(f"name must be a str or None, not {name!r}")
    return name


def check_on_error(on_error: T, takes: str) -> T:
    """Return `on_error` if it is "log", "raise" or an async function of what `takes` says."""
    if isinstance(on_error, str):
        if on_error not in ("log", "raise"):
            raise ValueError(f"on_error must be 'log', 'raise' or an async function, not {on_error!r}")
        return on_error
    return check_async("on_error", on_error, takes)


def check_async(argument: str, function: T, takes: str, *, count: int | None = None) -> T:
    """Return `function` if it may be an async function; TypeError, naming the argument and what it is
    instead, otherwise.

    Args: `takes` says in words what it is called with, `count` with how many arguments, None if that is not
    to be looked at.

    A lambda, a decorated function or an object with `__call__` passes, since inspection cannot tell: whether
    it returns an awaitable is checked when it is called.
    """
    wanted = f"{argument} must be an async function of {takes}"
    if inspect.iscoroutine(function):
        function.close()  # it will never be awaited; closed, it does not warn of that as well
        raise TypeError(f"{wanted}: pass the function itself, without calling it (got a coroutine object)")
    if not callable(function):
        raise TypeError(f"{wanted}, not {function!r}")
    inner: object = function
    while isinstance(inner, (functools.partial, MethodType)):
        inner = inner.func if isinstance(inner, functools.partial) else inner.__func__
    if isinstance(inner, type):
        hint = (
            f"pass {inner.__name__}.serve"
            if hasattr(inner, "serve")
            else "pass a function that makes and uses one"
        )
        raise TypeError(f"{wanted}, and {inner.__name__} is a class: {hint}")
    if inspect.isbuiltin(inner):
        raise TypeError(f"{wanted}, and {inner.__name__} is built in, and so a plain one")
    if isinstance(inner, FunctionType) and inspect.isasyncgenfunction(inner):
        raise TypeError(f"{wanted}, and {_describe(inner)} is an async generator: it must not yield")
    if isinstance(inner, FunctionType) and not inspect.iscoroutinefunction(inner) and _is_plain(inner):
        raise TypeError(
            f"{wanted}, and {_describe(inner)} is a plain one: write `async def {inner.__name__}(…)`"
        )
    if count is not None:
        _check_count(wanted, function, count)
    return function


def _check_count(wanted: str, function: Callable[..., object], count: int) -> None:
    """Raise TypeError if a function cannot be called with so many arguments, as far as it tells."""
    try:
        # A wrapper may give the function that it wraps more than it is given itself.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return  # it has none that can be seen
    try:
        signature.bind(*[object()] * count)
    except TypeError:
        name = getattr(function, "__qualname__", repr(function))
        many = "one argument" if count == 1 else f"{count} arguments"
        raise TypeError(f"{wanted}, and cannot be called with {many}: {name}{signature}") from None


def _is_plain(function: FunctionType) -> bool:
    """Whether a function that is not async surely returns nothing to await: no lambda, no wrapper, no
    annotation that says so.
    """
    returns = str(function.__annotations__.get("return", ""))
    hidden = function.__name__ == "<lambda>" or hasattr(function, "__wrapped__")
    return not hidden and "Awaitable" not in returns and "Coroutine" not in returns


def _describe(function: FunctionType) -> str:
    return f"{function.__module__}.{function.__qualname__}"
