"""Texts that say why a task was cancelled, and how it ended.

In trio (from 0.31 on) each `Cancelled` has its source: an explicit `cancel()`, a deadline, a nursery in which
a task has failed, the end of the run, or Ctrl-C.
"""

from __future__ import annotations

import re
from typing import Any, Final

import trio

from ..text import error_text, printable

_SOURCES: Final = {
    "deadline": "a deadline is over",
    "nursery": "its nursery is cancelled",
    "shutdown": "the trio run ends",
    "explicit": "cancel() was called",
    "KeyboardInterrupt": "Ctrl-C",
    "unknown": "the source is unknown",
}
_ADDRESS: Final = re.compile(r" at 0x([0-9a-f]+)>$")


def why_cancelled(error: trio.Cancelled) -> str:
    """Return a text with the source of a cancellation, and its reason if one was given."""
    source = _SOURCES.get(error.source, printable(error.source))
    return source if error.reason is None else f"{source}: {printable(error.reason)}"


def address_of_source(error: trio.Cancelled) -> int | None:
    """Return the `id()` of the task that cancelled, from trio's repr of that task; None without one."""
    found = _ADDRESS.search(error.source_task or "")
    return None if found is None else int(found[1], 16)


def leaves(error: BaseException) -> list[BaseException]:
    """Return the exceptions in a group, and in the groups in it; or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        group: BaseExceptionGroup[Any] = error
        return [leaf for one in group.exceptions for leaf in leaves(one)]
    return [error]


def how_failed(error: BaseException) -> str:
    """Return a text of the exception that a task has raised; for a group, of the exceptions in it."""
    said = [error_text(one) or "" for one in leaves(error) if not isinstance(one, trio.Cancelled)]
    if not isinstance(error, BaseExceptionGroup):
        return said[0]
    return printable(f"{type(error).__name__} of {'; '.join(said)}")


def is_cancelled(error: BaseException) -> bool:
    """Whether an exception is `Cancelled`, or a group of nothing else."""
    return all(isinstance(one, trio.Cancelled) for one in leaves(error))
