"""The clock of requests and their deadlines, which libraries that freeze time do not replace.

Such libraries replace the functions of the module `time` in every module that refers to one. They look for
the function itself, so a `partial` of it stays.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter as _perf_counter

#: `time.perf_counter()`.
now: partial[float] = partial(_perf_counter)
