"""Imports what needs trio: at one moment, as a whole, and by the original import system.

Programs change their process while a server runs: tests replace `socket.socket`, import hooks make modules
lazy, a daemon calls chroot(2). An import at such a moment fails, or leaves half of a package behind.

The invariants:

1. **A running server imports nothing.** What servers need is imported with `triosock.compat`, except what
   needs trio; that is imported on the first use of a name that no forking server needs (`ThreadingMixIn`, the
   classes made with it, and all that is new). A class is defined before its servers run. A server of another
   class waits without trio until then.
2. **A forking program does not import trio**, which would double the pages that each fork copies, unless it
   uses such a name itself. Green mode is imported with the first of its names or policies.
3. **All or nothing.** A failed import removes what it has imported.

Imports use the hooks, the path and the `__import__` of the moment when `triosock.compat` was imported.
"""

from __future__ import annotations

import builtins
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Final

from triosock._extras import what_to_install

if TYPE_CHECKING:
    from .requests.ports import GreenPart, TrioPart
    from .requests.table import RequestTable

#: All modules of this package that need trio.
_NEED_TRIO: Final = (
    *(
        "bridge.calls",
        "bridge.trio_thread",
        "bridge.trio_wait",
        "bridge.tcp_state",
        "bridge.draining_socket",
        "bridge.thread_interrupt",
        "bridge.addresses",
        "bridge.request_entry",
        "bridge.supervisor",
        "bridge.deadline_task",
        "bridge.lifecycle_events",
        "bridge.port",
        "control.current_request",
    ),
    *(
        "control.call_trio",
        "control.drain",
        "control.drain_target",
        "control.policy",
        "control.serve",
        "control.statistics",
        "control.tree",
    ),
)
#: All modules of green mode, which need an extra besides.
_NEED_GREENLET: Final = (
    *(
        "accepting",
        "check",
        "connection_socket",
        "readers",
        "greenlets",
        "group",
        "mixins",
        "native",
        "portal",
    ),
    *("make", "port", "proxying", "socket", "tasks", "tls", "waiting", "watch"),
)
_PACKAGE: Final = __name__.rpartition(".")[0]

_import: Final = builtins.__import__
_hooks: Final = tuple(sys.meta_path)
_path_hooks: Final = tuple(sys.path_hooks)
_path: Final = tuple(sys.path)
_lock: Final = threading.RLock()
#: By their short names; all of them, or none.
_modules: dict[str, ModuleType] = {}
_greens: dict[str, ModuleType] = {}


def is_loaded() -> bool:
    """Whether everything that needs trio is imported."""
    return bool(_modules)


def late(name: str) -> ModuleType:
    """Return a module of this package that needs trio. If none was loaded yet, all are, with what `load()`
    raises.
    """
    if not _modules:
        load()
    return _modules[name]


def load() -> None:
    """Import everything that needs trio, if that was not done yet. From any thread.

    Raises: ImportError, or whatever a module raises; nothing of it is left then.
    """
    with _lock:
        if not _modules:
            with _as_it_was(), _all_or_nothing():
                # In one step: a reader without the lock finds all of them, or none.
                _modules.update({name: import_module(f"{_PACKAGE}.{name}") for name in _NEED_TRIO})


def late_green(name: str) -> ModuleType:
    """Return a module of green mode. If none was loaded yet, all are, with what `load()` raises.

    Raises: RuntimeError, with the reason, if there can be no green servers here.
    """
    if not _greens:
        _load_green()
    return _greens[name]


def trio() -> TrioPart[RequestTable]:
    """Return the parts that need trio, for the packages below them: see `requests/ports.py`."""
    port: TrioPart[RequestTable] = late("bridge.port").PORT
    return port


def green() -> GreenPart[RequestTable]:
    """Return the parts that need greenlets, for the packages below them.

    Raises: RuntimeError, with the reason, if there can be no green servers here.
    """
    port: GreenPart[RequestTable] = late_green("port").PORT
    return port


def green_if_loaded() -> GreenPart[RequestTable] | None:
    """Return the same if it is imported already, otherwise None."""
    return green() if _greens else None


def has_green() -> bool:
    """Whether there can be green servers here; nothing is imported for this."""
    try:
        return bool(_greens) or (_has_gil() and find_spec("greenlet") is not None)
    except ImportError:  # from an import hook of the program
        return False


def _has_gil() -> bool:
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def _load_green() -> None:
    load()
    with _lock:
        if _greens:
            return
        if not _has_gil():
            raise RuntimeError("this interpreter runs without the GIL, which green servers' greenlets need")
        try:
            with _as_it_was(), _all_or_nothing():
                _greens.update({one: import_module(f"{_PACKAGE}.green.{one}") for one in _NEED_GREENLET})
        except ModuleNotFoundError as error:
            if error.name != "greenlet":
                raise
            raise RuntimeError(what_to_install("a green server", "green")) from error


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Import with the hooks of the time when this module was imported; restore the present ones after."""
    imports = builtins.__import__
    now = [*sys.meta_path], [*sys.path_hooks], [*sys.path]
    builtins.__import__ = _import
    # A hook that was removed since may not work any more, so it is left out.
    sys.meta_path[:], sys.path_hooks[:] = _hooks, _path_hooks
    sys.path[:] = [*_path, *(one for one in now[2] if one not in _path)]
    try:
        yield
    finally:
        builtins.__import__ = imports
        sys.meta_path[:], sys.path_hooks[:], sys.path[:] = now


@contextmanager
def _all_or_nothing() -> Iterator[None]:
    before = set(sys.modules)
    try:
        yield
    except BaseException:
        for name in set(sys.modules) - before:
            del sys.modules[name]
        raise
