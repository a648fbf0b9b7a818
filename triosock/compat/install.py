"""Runs programs that import `socketserver`, without a change in their source.

Rules of this file:

1. **It is installed before the first module that uses it, or raises.** A module that was imported earlier has
   the standard library's classes as its bases, and a program must not use both modules.
2. Only `sys.modules["socketserver"]` is changed.
"""

from __future__ import annotations

import sys
from types import ModuleType

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
    theirs = {
        value for value in vars(present).values() if isinstance(value, type) and value.__module__ == _NAME
    }
    return sorted(
        name
        for name, module in list(sys.modules.items())
        if module is not present
        and any(
            value is present or (isinstance(value, type) and not theirs.isdisjoint(value.__mro__))
            for value in list(vars(module).values())
        )
    )
