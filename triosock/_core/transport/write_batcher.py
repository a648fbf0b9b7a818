"""The write batcher: one flush task that sends the gathered answers of all connections of a server.

A wire may keep small answers to pipelined requests, to send them by one system call (`socket_send.py`). The
handler may wait for any time after its `send_all`, so a task of the server sends them.

The invariant: **gathered answers are sent in the next pass of trio's loop.** The flush task is started,
synchronously, when the first wire has something; trio runs it in the next pass, whatever the others wait for.
It sends before its first await, so not even a cancellation comes in between.
"""

from __future__ import annotations

from typing import Final, Protocol, final

import trio

_FLUSH: Final = "triosock flush"
_PUSH: Final = "triosock flush, waiting for a full socket"


class Flushable(Protocol):
    """A sender of gathered writes."""

    def flush_nowait(self) -> bool:
        """Pass to the kernel what it takes; return whether that was all."""
        ...

    async def push(self) -> None:
        """Wait until the kernel has taken the rest."""
        ...


@final
class WriteBatcher:
    """Starts the flush tasks of one server in `nursery`."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._senders: list[Flushable] = []

    def schedule(self, sender: Flushable) -> None:
        """Flush `sender` in the next pass of trio's loop."""
        if not self._senders:
            self._nursery.start_soon(self._flush, name=_FLUSH)
        self._senders.append(sender)

    async def _flush(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            if not sender.flush_nowait():
                self._nursery.start_soon(sender.push, name=_PUSH)
