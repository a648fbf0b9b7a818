"""What numbers may be: seconds, counts, shares.

The rule: an error names the argument, and says what was wanted.
"""

from __future__ import annotations

import math


def check_seconds(value: object, argument: str, *, zero: bool = False) -> float:
    """Return `value` as a float if it is a number of seconds above 0 (from 0 on with `zero`); inf is one, NaN
    is not.

    Raises: TypeError or ValueError, whose text names `argument`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
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
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument} must be an int from 1 on, or math.inf for no limit, not {value!r}")
    if value < 1:
        raise ValueError(f"{argument} must be from 1 on, or math.inf for no limit, not {value!r}")
    return value


def check_share(value: object, argument: str) -> float:
    """Return `value` as a float if it is a number from 0 to 1; TypeError or ValueError, which name
    `argument`, otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{argument} must be a number from 0 to 1, not {value!r}")
    if not 0 <= value <= 1:  # NaN is not, either
        raise ValueError(f"{argument} must be from 0 to 1, not {value!r}")
    return float(value)
