"""Imports everything that needs trio at one moment, completely or not at all, by the original import system.

Programs change their process while a server runs: tests replace `socket.socket`, import hooks make modules
lazy, a daemon calls chroot(2). An import after that may fail, or leave a package half imported.

The invariants:

1. **A running server imports nothing.** All modules that do not need trio are imported with
   `triosock.compat`. The others are imported on the first use of a name that no forking server needs:
   `ThreadingMixIn`, the classes made with it, and the names that the standard library does not have. A class
   is defined before its servers run. Until then, servers of other classes wait without trio.
2. **A forking program does not import trio**, which would double the pages that each fork copies, unless it
   uses such a name itself. Green mode is imported with the first use of its names or of a policy for it.
3. **A failed import removes all modules that it has imported.**

Imports use the hooks, the path and the `__import__` of the time when `triosock.compat` was imported.
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
        "control.server_argument",
        "control.statistics",
        "control.tree",
    ),
)
#: All modules of green mode, which need the extra `green` too.
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
#: The imported modules by their short names: all of them, or none.
_modules: dict[str, ModuleType] = {}
_greens: dict[str, ModuleType] = {}


def is_loaded() -> bool:
    """Whether everything that needs trio is imported."""
    return bool(_modules)


def late(name: str) -> ModuleType:
    """Return a module of this package that needs trio; call `load()` if they are not imported yet. Raises: as
    `load()`.
    """
    if not _modules:
        load()
    return _modules[name]


def load() -> None:
    """Import all modules that need trio, if they are not imported yet. From any thread.

    Raises: ImportError, or another exception of a module; none of the modules is left imported then.
    """
    with _lock:
        if not _modules:
            with _as_it_was(), _all_or_nothing():
                # In one step, so that a reader without the lock finds all of them, or none.
                _modules.update({name: import_module(f"{_PACKAGE}.{name}") for name in _NEED_TRIO})


def late_green(name: str) -> ModuleType:
    """Return a module of green mode; import all of them if that was not done yet.

    Raises: RuntimeError, with the reason, if green servers cannot run here; what `load()` raises.
    """
    if not _greens:
        _load_green()
    return _greens[name]


def trio() -> TrioPart[RequestTable]:
    """Return the port to the modules that need trio: see `requests/ports.py`."""
    port: TrioPart[RequestTable] = late("bridge.port").PORT
    return port


def green() -> GreenPart[RequestTable]:
    """Return the port to green mode.

    Raises: RuntimeError, with the reason, if green servers cannot run here.
    """
    port: GreenPart[RequestTable] = late_green("port").PORT
    return port


def green_if_loaded() -> GreenPart[RequestTable] | None:
    """Return the port to green mode if that is imported, otherwise None."""
    return green() if _greens else None


def has_green() -> bool:
    """Whether green servers can run here. Imports nothing."""
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
    """Use the import hooks of the time when this module was imported, and restore the current ones
    afterwards.
    """
    imports = builtins.__import__
    now = [*sys.meta_path], [*sys.path_hooks], [*sys.path]
    builtins.__import__ = _import
    # Path entries that were added since are kept, after the original ones.
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
