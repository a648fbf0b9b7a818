"""The checks of arguments: each kind of value has one, with one kind of message.

An error names the argument, says what was wanted, and what came instead: TypeError for a value of another
kind, ValueError for one that is out of range. A bool is no number here, though Python says that it is an int.

The second half are the same checks as validators of attrs.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeGuard, TypeVar

import attrs

#: Of a field.
T = TypeVar("T")


def is_int(value: object) -> TypeGuard[int]:
    """Whether it is an int, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is an int or float, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_int(
    value: object, argument: str, least: int = 1, most: int | None = None, *, besides: str = ""
) -> int:
    """Return `value` if it is an int from `least` on, up to `most` if there is such a bound.

    `besides` is said after the range, for what the caller takes beside it: ", or None".

    Raises: TypeError or ValueError, whose text names `argument`.
    """
    span = f"from {least} on" if most is None else f"from {least} to {most}"
    if not is_int(value):
        raise TypeError(f"{argument} must be an int {span}{besides}, not {value!r}")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{argument} must be {span}{besides}, not {value}")
    return value


def check_seconds(value: object, argument: str, *, zero: bool = False) -> float:
    """Return `value` as a float if it is a number of seconds above 0 (from 0 on with `zero`); inf is one, NaN
    is not.

    Raises: TypeError or ValueError, whose text names `argument`.
    """
    if not is_number(value):
        raise TypeError(f"{argument} must be a number of seconds, or math.inf for none, not {value!r}")
    try:
        seconds = float(value)
    except OverflowError:
        raise ValueError(
            f"{argument} must be a number of seconds; for one that large write math.inf"
        ) from None
    if math.isnan(seconds) or seconds < 0 or (seconds == 0 and not zero):
        at_least = "from 0 on" if zero else "above 0"
        raise ValueError(
            f"{argument} must be a number of seconds {at_least}, or math.inf for none, not {value!r}"
        )
    return seconds


def check_count(value: object, argument: str) -> float:
    """Return `value` if it is an int from 1 on, or `math.inf`; TypeError or ValueError, which name
    `argument`, otherwise.
    """
    if value == math.inf:
        return math.inf
    return check_int(value, argument, besides=", or math.inf for no limit")


def check_share(value: object, argument: str) -> float:
    """Return `value` as a float if it is a number from 0 to 1; TypeError or ValueError, which name
    `argument`, otherwise.
    """
    if not is_number(value):
        raise TypeError(f"{argument} must be a number from 0 to 1, not {value!r}")
    if not 0 <= value <= 1:  # NaN is not, either
        raise ValueError(f"{argument} must be from 0 to 1, not {value!r}")
    return float(value)


def check_several(value: Iterable[T], wanted: str) -> Iterable[T]:
    """Return `value` if one can go through it, and it is no text; TypeError, which begins with `wanted`,
    otherwise.
    """
    given: object = value  # which may be anything
    if inspect.iscoroutine(given):
        given.close()  # it will never be awaited; closed, it does not warn of that as well
        raise TypeError(f"{wanted}; write `await` before {given.__name__}(…)")
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"{wanted}, not {given!r}")
    return value


# Validators


def positive(instance: object, field: attrs.Attribute[T], value: T) -> None:
    """An int from 1 on."""
    check_int(value, field.name)


def count(instance: object, field: attrs.Attribute[T], value: T) -> None:
    """An int from 1 on, or inf."""
    check_count(value, field.name)


def seconds(instance: object, field: attrs.Attribute[T], value: T) -> None:
    """Seconds above 0, or inf."""
    check_seconds(value, field.name)


def seconds_or_zero(instance: object, field: attrs.Attribute[T], value: T) -> None:
    """Seconds from 0 on, or inf."""
    check_seconds(value, field.name, zero=True)


def share(instance: object, field: attrs.Attribute[T], value: T) -> None:
    """A number from 0 to 1."""
    check_share(value, field.name)


def one_of(*allowed: str | int) -> Callable[[object, attrs.Attribute[Any], object], None]:
    """Return a validator for one of these words or numbers; ValueError for anything else."""
    *first, last = map(repr, allowed)
    wanted = f"{', '.join(first)} or {last}"

    def check(instance: object, field: attrs.Attribute[T], value: T) -> None:
        if value not in allowed:
            raise ValueError(f"{field.name} must be {wanted}, not {value!r}")

    return check
