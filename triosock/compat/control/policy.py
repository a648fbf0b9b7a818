"""The options of a server class that the standard library does not have: `trio_policy = Policy(...)`.

Rules of this file: every option is off by default. One class attribute sets all of them, since further names
could collide with a program's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from typing import Literal, final

import attrs

from triosock import Observer, ProxyPolicy
from triosock._core.model.checks import check_several, count, one_of, seconds, seconds_or_zero
from triosock._core.protocols.proxy_parser import check_proxy

from ..requests import table


def _to_observers(value: Iterable[Observer]) -> tuple[Observer, ...]:
    return tuple(check_several(value, "observers must be several observers in a list"))


@final
@attrs.frozen(kw_only=True)
class Policy:
    """The options of a server class, set by `trio_policy = Policy(...)`. Without it a server behaves as in
    the standard library.

    Raises: TypeError, ValueError, which name the option.

    `request_timeout`
        Seconds, above 0, from the accept to the end of the handler. A request that takes longer is cut:
        `RequestCut` is raised in its thread, or in a green server `trio.Cancelled` at its next wait. inf by
        default: the standard library has no limit.
    `max_requests`
        The number of requests handled at once, from 1 on; further ones wait in the kernel's queue. inf by
        default.
    `grace`
        Seconds, from 0 on, that a drain gives to requests in progress; 0 cuts them at once. 15 by default, as
        `Timeouts.grace`.
    `observers`
        Several observers. They get the same events as those of a native server, in the trio thread.
    `mode`
        "own": a thread, a process or neither for each request, as the class is. "green": a trio task in the
        place of each thread of a `ThreadingMixIn`; needs the extra `green`.
    `proxy`
        Whether a PROXY protocol header comes first, in a green server of streams: True for the default
        `ProxyPolicy`, or a `ProxyPolicy`. The header is read in the request's task, before TLS, for at most
        10 s. The handler's `client_address` is that of the client; `verify_request()` and `process_request()`
        get that of the proxy. A client that sends no header, or a malformed one, is dropped without a hook.
    `blocking_after`
        Seconds, above 0, that a green handler may run without a wait, while `serve_forever()` runs. A handler
        that takes longer blocks all others, and is reported on standard error with its stack, once for each
        place in the code. inf for never. The default, 1, is longer than the usual scheduling delay of a busy
        machine, and shorter than users wait.
    """

    request_timeout: float = attrs.field(default=math.inf, validator=seconds)
    max_requests: float = attrs.field(default=math.inf, validator=count)
    grace: float = attrs.field(default=15.0, validator=seconds_or_zero)
    observers: tuple[Observer, ...] = attrs.field(default=(), converter=_to_observers)
    mode: Literal["own", "green"] = attrs.field(default="own", validator=one_of("own", "green"))
    proxy: ProxyPolicy | None = attrs.field(default=None, converter=check_proxy)
    blocking_after: float = attrs.field(default=1.0, validator=seconds)

    def __attrs_post_init__(self) -> None:
        if self.mode == "green":
            # The class is being defined, so green mode is imported now. A server is checked when it is made.
            with suppress(RuntimeError):
                table.port.parts.green()

    @property
    def needs_oversight(self) -> bool:
        """Whether the requests need supervision while they run."""
        return self.request_timeout != math.inf or bool(self.observers)
