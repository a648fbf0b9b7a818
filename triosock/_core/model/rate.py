"""How often: a `Rate` as a value.

The rule: a rate that exists can be kept. Zero, NaN, what is negative and what is infinite are errors when it
is made; "no limit" is None where a rate is wanted, and no rate.
"""

from __future__ import annotations

import math
import re
from typing import Final, final

import attrs

from .checks import is_number

#: No machine serves more than that in Python, and the clock has no finer steps to tell them apart by.
MOST_PER_SECOND: Final = 1_000_000.0

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_WRITTEN: Final = re.compile(r"(\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)?([smh])(?::(\d+(?:\.\d+)?))?", re.ASCII)


def _finite(value: object, least: float, argument: str) -> None:
    """Raise TypeError or ValueError unless `value` is a finite number above `least` (from 1 on for 1)."""
    wanted = "from 1 on" if least else "above 0"
    text = f"{argument} of a Rate must be a finite number {wanted}, not {value!r}"
    if not is_number(value):
        raise TypeError(text)
    # A comparison and not float(value): an int may be too large for one.
    if not (least <= value < math.inf) or value == 0 or value > 1e300:
        raise ValueError(f"{text}; for no limit leave the option at None")


def _default_burst(rate: Rate) -> float:
    count: object = rate.count  # not validated yet
    return count if isinstance(count, (int, float)) and count > 1 else 1


@final
@attrs.frozen
class Rate:
    """So many in so much time: ``Rate(20, per=1, burst=40)``.

    A token bucket: it holds `burst` tokens at first and at most, `count` more come back each `per` seconds,
    one by one, and each piece of work takes one.

    Args:
      count: a number above 0; 0.5 is one in two seconds.
      per: seconds above 0.
      burst: how many at once after a quiet time, a number from 1 on; without it `count` (1 if that is less).

    All are finite, and `count` / `per` is a million at most. Raises: TypeError, ValueError, which name the
    argument.
    """

    count: float = attrs.field()
    per: float = attrs.field(default=1.0, kw_only=True)
    burst: float = attrs.field(default=attrs.Factory(_default_burst, takes_self=True), kw_only=True)

    def __attrs_post_init__(self) -> None:
        _finite(self.count, 0, "count")
        _finite(self.per, 0, "per")
        _finite(self.burst, 1, "burst")
        if self.count / self.per > MOST_PER_SECOND:
            raise ValueError(f"a Rate may be {MOST_PER_SECOND:,.0f} in a second at most, not {self}")
        if self.interval * self.burst > 1e300:
            raise ValueError(f"a Rate must get its burst back in a time that can be counted, not {self}")

    @property
    def interval(self) -> float:
        """Seconds from one token to the next."""
        return self.per / self.count

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Return the rate that `text` writes, as on the command line and in configuration files:
        ``COUNT/PERIOD`` or ``COUNT/PERIOD:BURST``, where the period is s, m or h with a number before it or
        none: ``20/s:40``, ``100/10s``, ``600/m``.

        Raises: TypeError, ValueError.
        """
        if not isinstance(text, str):
            raise TypeError(f"a rate is written as text such as '20/s:40', not {text!r}")
        found = _WRITTEN.fullmatch(text.strip())
        if found is None:
            raise ValueError(
                "a rate is written COUNT/PERIOD or COUNT/PERIOD:BURST, such as 20/s:40, 100/10s or 600/m, "
                f"not {text!r}"
            )
        count, many, unit, burst = found.groups()
        per = float(many or 1) * _UNITS[unit]
        more = {} if burst is None else {"burst": float(burst)}
        return cls(float(count), per=per, **more)

    def __str__(self) -> str:
        return f"{self.count:g}/{self.per:g}s:{self.burst:g}"
