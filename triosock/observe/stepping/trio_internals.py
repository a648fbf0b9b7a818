"""The only file of the recorder that uses private API of trio:

- ``trio._core._run.setup_runner``, which makes each run: a recorder outside of runs learns of new runs by it;
- ``Task._next_send``, the value or exception that a woken task will get, with the task that cancelled it and
  the reason;
- ``Task._cancel_status``, ``CancelStatus._scope`` and ``_parent``, ``CancelScope._cancel_called``: the scope
  that was cancelled;
- ``Nursery._pending_excs`` and ``Runner.main_task_outcome``: the exception of a task that has just ended.

The invariant: **if trio has changed, a recording lacks details, and no run fails.** Only the first one is
checked at the beginning, since a recorder outside of runs needs it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import trio

Make: TypeAlias = Callable[[], trio.abc.Instrument]

_makers: Final[list[Make]] = []
_undo: Final[list[Callable[[], None]]] = []
_lock: Final = threading.Lock()


def can_hear_of_runs() -> bool:
    """Whether a recorder can learn of new runs of this version of trio."""
    return callable(getattr(_module(), "setup_runner", None))


@contextlib.contextmanager
def each_new_run(make: Make) -> Iterator[None]:
    """Add an instrument, made by `make`, to each trio run that begins in this block, in any thread."""
    with _lock:
        _makers.append(make)
        if len(_makers) == 1:
            _undo.append(_wrap())
    try:
        yield
    finally:
        with _lock:
            _makers.remove(make)
            if not _makers:
                _undo.pop()()


def _wrap() -> Callable[[], None]:
    """Replace `setup_runner` by a wrapper; return the function that restores it."""
    module = _module()
    before = module.setup_runner
    is_in_use = True

    def setup_runner(*args: Any, **options: Any) -> Any:
        runner = before(*args, **options)
        if is_in_use:
            for make in tuple(_makers):
                runner.instruments.add_instrument(make())
        return runner

    def back() -> None:
        nonlocal is_in_use
        is_in_use = False  # a later wrapper around it may still call it
        if module.setup_runner is setup_runner:
            module.setup_runner = before

    module.setup_runner = setup_runner
    return back


def _module() -> Any:
    core: Any = trio._core
    return core._run


def thrown(task: trio.lowlevel.Task) -> BaseException | None:
    """Return the exception that a woken task will get, or None."""
    return getattr(getattr(task, "_next_send", None), "error", None)


def struck_scope(task: trio.lowlevel.Task) -> tuple[Any, bool]:
    """Return the outermost cancelled scope that reaches a task, and whether it is also the innermost one."""
    status = innermost = getattr(task, "_cancel_status", None)
    found = None
    while status is not None:
        scope = getattr(status, "_scope", None)
        if getattr(scope, "_cancel_called", False):
            found = scope
        if getattr(scope, "shield", False):
            break
        status = getattr(status, "_parent", None)
    return found, found is not None and found is getattr(innermost, "_scope", None)


def errors_in(nursery: trio.Nursery) -> list[BaseException]:
    """Return the exceptions that the tasks of a nursery, and its block, have raised so far."""
    return getattr(nursery, "_pending_excs", [])


def error_of_main(task: trio.lowlevel.Task) -> BaseException | None:
    """Return the exception of the main task of a run, if `task` is that task and has just ended."""
    runner = getattr(task, "_runner", None)
    if getattr(runner, "main_task", None) is not task:
        return None
    return getattr(getattr(runner, "main_task_outcome", None), "error", None)
