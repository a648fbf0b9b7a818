"""What the hooks of a server are given, as types.

Both are whatever `get_request()` returns, which a program may override; and a hook of a subclass names what
its own requests are (`request: socket.socket`), which type checkers take only in the place of `Any`. So
typeshed has it for addresses, for the same reason. What `triosock.compat` itself gets of it is an `object`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Request: TypeAlias = Any
ClientAddress: TypeAlias = Any
#: A handler class, or any callable, of the request, the client's address and the server.
HandlerFactory: TypeAlias = Callable[[Any, Any, Any], object]
