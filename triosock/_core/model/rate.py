"""`Rate`: how often something may happen, as a value.

The rule: a `Rate` is a positive, finite rate. Zero, NaN, and negative and infinite numbers are errors when it
is made; None in the place of a `Rate` means no limit.
"""

from __future__ import annotations

import math
import re
from typing import Final, final

import attrs

from .checks import is_number

#: More than any Python server serves in a second; the clock cannot tell shorter intervals apart.
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
    """A rate, such as 20 in a second and up to 40 at once: ``Rate(20, per=1, burst=40)``.

    It is a token bucket: it begins with `burst` tokens, its maximum; `count` tokens are added in `per`
    seconds, one by one; and each connection, request or datagram takes one.

    Args:
      count: a number above 0; 0.5 is one in two seconds.
      per: seconds, above 0.
      burst: the number that is allowed at once after a quiet time, from 1 on; the default is `count`, or 1 if
        that is less.

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
        """The seconds between two tokens."""
        return self.per / self.count

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Return the rate in `text`, which is written as on the command line and in configuration files:
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
