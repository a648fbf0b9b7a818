"""The options of a server class beyond the standard library: `trio_policy = Policy(...)`.

Rules of this file: every option is off by default and is set by one class attribute; servers get no other new
names, which could collide with a program's own.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Literal, final

import attrs

from triosock import Observer, ProxyPolicy
from triosock._core.model.checks import count, one_of, seconds, seconds_or_zero
from triosock._core.protocols.proxy_parser import check_proxy

from ..requests import table


@final
@attrs.frozen(kw_only=True)
class Policy:
    """The options of a server class, set by `trio_policy = Policy(...)`. Without it a server behaves as in
    the standard library.

    `request_timeout`
        Seconds from the accept to the end of the handler; then it is cut: `RequestCut` is raised in its
        thread. No limit by default, like the standard library.
    `max_requests`
        Requests handled at once; the next ones wait in the kernel's queue. No limit by default.
    `grace`
        Seconds that a drain gives to requests in progress. 15 s is `Timeouts.grace`. 0 cuts at once.
    `observers`
        Observers: they get the same events as those of a native server, in the trio thread.
    `mode`
        "own": what the class is, a thread, a process or neither per request. "green": a trio task in the
        place of each thread of a `ThreadingMixIn`; needs the extra `green`.
    `proxy`
        Expect a PROXY protocol header first, in a green server of streams: True for the default
        `ProxyPolicy`, or one of your own. It is read in the request's task, before TLS, for at most 10 s; the
        handler's `client_address` is the client's then. `verify_request()` and `process_request()` still see
        the proxy's. A client that sends no header, or a bad one, is dropped without a hook.
    `blocking_after`
        Seconds that a green handler may run without a wait, while `serve_forever()` runs. A handler that
        takes longer blocks all the others, and is reported on standard error with its stack, once for each
        place. inf for never. A second is longer than the usual scheduling delay of a busy machine, and
        shorter than users wait.
    """

    request_timeout: float = attrs.field(default=math.inf, validator=seconds)
    max_requests: float = attrs.field(default=math.inf, validator=count)
    grace: float = attrs.field(default=15.0, validator=seconds_or_zero)
    observers: tuple[Observer, ...] = attrs.field(default=(), converter=tuple)
    mode: Literal["own", "green"] = attrs.field(default="own", validator=one_of("own", "green"))
    proxy: ProxyPolicy | None = attrs.field(default=None, converter=check_proxy)
    blocking_after: float = attrs.field(default=1.0, validator=seconds)

    def __attrs_post_init__(self) -> None:
        if self.mode == "green":
            # When the class is defined; whether its servers can be green is checked when one is made.
            with suppress(RuntimeError):
                table.port.parts.green()

    @property
    def needs_oversight(self) -> bool:
        """Whether the requests need supervision while they run."""
        return self.request_timeout != math.inf or bool(self.observers)
