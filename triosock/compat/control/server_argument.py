"""Checks the argument of `serve()`, `drain()` and `statistics()`.

A server of the standard library is the usual mistake: its module was imported before `install()`. The calls
would then act on nothing, since such a server has no requests and no loops that are known here.
"""

from __future__ import annotations

from ..stdlib.base import BaseServer


def check_server(server: object, function: str) -> None:
    """Raise TypeError if this is no server of `triosock.compat`."""
    if isinstance(server, BaseServer):
        return
    hint = ""
    if any(kind.__module__ == "socketserver" for kind in type(server).__mro__):
        hint = (
            ": it is one of the standard library. Call compat.install() before the first import of its "
            "module, or use triosock.compat as socketserver"
        )
    raise TypeError(f"{function}() takes a server of triosock.compat, not {server!r}{hint}")
