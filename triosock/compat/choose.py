"""Chooses the wait of one call of `serve_forever()`: see the rules of `waiting/poll.py`.

It is in no package, since it chooses among the waits of `waiting` and `bridge`. `stdlib/base.py` calls it by
the name `_serving` in `triosock.compat`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .loading import is_loaded, late
from .stdlib import mixins
from .waiting.forking import ForkingWait
from .waiting.poll import CAN_POLL, DEFAULT_SELECTOR, PollWait, Waiting

if TYPE_CHECKING:
    import selectors
    from types import ModuleType

    from .stdlib.base import BaseServer

_active_count = threading.active_count


def serving(server: BaseServer, selector: selectors.BaseSelector, public: ModuleType) -> Waiting:
    """Return the wait for one call of `serve_forever()`: a context manager, open as long as the loop runs."""
    if type(selector) is not DEFAULT_SELECTOR or not CAN_POLL:
        return Waiting(server, selector)
    # Programs replace names in `triosock.compat`; a name that is not in its namespace was not replaced.
    names = vars(public)
    if "ForkingMixIn" in names and isinstance(server, names["ForkingMixIn"]):
        return ForkingWait(server, selector)
    if not is_loaded():
        return PollWait(server, selector)
    # There is a chosen host only if a trio program serves this server.
    chosen = late("bridge.trio_thread").host_for(server)
    threading_mixin = names.get("ThreadingMixIn", mixins.ThreadingMixIn)
    if chosen is None and not isinstance(server, threading_mixin) and _active_count() == 1:
        return PollWait(server, selector)
    trio_wait = late("bridge.trio_wait")
    wait: Waiting = (
        trio_wait.TrioWait(server, selector, chosen) if trio_wait.may_block() else PollWait(server, selector)
    )
    return wait
