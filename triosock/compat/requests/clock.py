"""The clock of requests and their deadlines, which libraries that freeze time do not replace.

Such libraries replace the functions of the module `time` in every module that has one as a global. They
compare with the function itself, so a `partial` of it is not replaced.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter as _perf_counter

#: `time.perf_counter()`.
now: partial[float] = partial(_perf_counter)
