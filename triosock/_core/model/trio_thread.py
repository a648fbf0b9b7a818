"""The check of methods that only the thread of their trio program may call: one text for all of them."""

from __future__ import annotations

import trio


def check_trio_thread(method: str, of: str = "server") -> None:
    """Raise RuntimeError, saying how to call `of.method` instead, if trio does not run in this thread.

    Without this check such a call may do half of its work, and then fail at its first call of trio.
    """
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError(
            f"{method}() belongs to the thread that runs trio: from another one, call "
            f"trio.from_thread.run_sync({of}.{method}, trio_token=…); from a signal handler or a thread of "
            f"no trio program, token.run_sync_soon({of}.{method}); "
            "the token is what trio.lowlevel.current_trio_token() returns in the trio program"
        )
