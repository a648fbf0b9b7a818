"""Runs programs that import `socketserver`, without a change in their source.

Rules of this file:

1. **It is installed before the first module that uses it, or raises.** A module that was imported earlier has
   the standard library's classes as its bases, and a program must not use both modules.
2. Only `sys.modules["socketserver"]` is changed.
3. **Looking for users runs no code of the program**: its modules may be lazy, and its globals proxies.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeGuard

_NAME = "socketserver"


def install() -> None:
    """Make every later `import socketserver` import `triosock.compat`. Does nothing when called again.

    Raises: RuntimeError, which names them, if imported modules use the standard library's already, such as
    `http.server` and `xmlrpc.server`.
    """
    compat = sys.modules[__name__.rpartition(".")[0]]
    present = sys.modules.get(_NAME)
    if present is compat:
        return
    users = [] if present is None else _users_of(present)
    if users:
        raise RuntimeError(
            f"install() comes too late: {', '.join(users)} already uses the standard library's socketserver"
            ". Call it before the first import of socketserver, http.server, xmlrpc.server and what is built "
            "on them, or run the program with: python -m triosock.compat"
        )
    sys.modules[_NAME] = compat


def _users_of(present: ModuleType) -> list[str]:
    """Return the names of the modules in which a global is that module, or one of its classes, or a subclass
    of one.
    """
    theirs = {id(value) for value in vars(present).values() if _is_class(value) and value.__module__ == _NAME}
    return sorted(
        name
        for name, module in list(sys.modules.items())
        if module is not present
        and any(
            value is present or (_is_class(value) and not theirs.isdisjoint(map(id, value.__mro__)))
            for value in _globals_of(module)
        )
    )


def _is_class(value: object) -> TypeGuard[type]:
    # `isinstance()` reads `__class__`, which is code of the program for lazy objects and proxies.
    return issubclass(type(value), type)


def _globals_of(module: object) -> list[object]:
    """Return the values of a module's globals; of any object, since a program may put one into `sys.modules`,
    and puts None for what must not be imported. A lazy module is not loaded.
    """
    try:
        return list(object.__getattribute__(module, "__dict__").values())
    except AttributeError:
        return []
