"""The clock of requests and their deadlines, which no program stops.

Libraries that freeze time put functions of their own in the place of those of the module `time`, in every
module that has one of them. What they look for is the function itself: a `partial` is none.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter as _perf_counter

#: `time.perf_counter()`.
now: partial[float] = partial(_perf_counter)
