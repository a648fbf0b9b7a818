"""The name of the server that a client asked for in its TLS handshake (SNI, RFC 6066, 3).

The ssl module passes it only to a callback of the context. The context is the user's, may have a callback of
its own, and may be shared with other servers and libraries. So this file wraps the existing callback, passes
every call on to it, and keeps the name only for handshakes of triosock: these run the callback in their own
task, so a context variable identifies them.
"""

from __future__ import annotations

import contextlib
import contextvars
import ssl
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, final

#: What ssl.SSLContext.sni_callback is.
SniCallback: TypeAlias = Callable[[ssl.SSLObject, "str | None", ssl.SSLContext], "int | None"]

_asked: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar(
    "triosock_server_name", default=None
)


@final
class _Noting:
    """A callback that notes the name, and calls the one that was there before."""

    __slots__ = ("_inner",)

    def __init__(self, inner: SniCallback | None) -> None:
        self._inner = inner

    def __call__(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int | None:
        names = _asked.get()
        if names is not None and name:
            names.append(name)
        return None if self._inner is None else self._inner(connection, name, context)


def note_server_names(context: ssl.SSLContext) -> None:
    """Have handshakes with this context note the name. Also after the user has set a callback anew."""
    current: Any = context.sni_callback  # its declared type leaves out that there may be no name
    if not isinstance(current, _Noting):
        context.sni_callback = _Noting(current)


@contextlib.contextmanager
def noted_server_name() -> Iterator[list[str]]:
    """Note the name that is asked for in the block, in a list that is empty if none is."""
    names: list[str] = []
    token = _asked.set(names)
    try:
        yield names
    finally:
        _asked.reset(token)
