"""The types of the arguments of a server's hooks.

Requests and addresses are what `get_request()` returns, which a program may override. A hook of a subclass
declares its own type (`request: socket.socket`), which type checkers accept only in the place of `Any`;
typeshed does the same for addresses. `triosock.compat` itself treats them as `object`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Request: TypeAlias = Any
ClientAddress: TypeAlias = Any
#: A handler class, or any callable, of the request, the client's address and the server.
HandlerFactory: TypeAlias = Callable[[Any, Any, Any], object]
