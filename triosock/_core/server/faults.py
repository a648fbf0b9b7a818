"""The table of faults: who caused an exception of a handler, and what follows.

The rule: **a server reports its own errors, and an error of the peer ends only the peer's connection.**

| raised | whose | `on_error` function | `on_error="raise"` | `Cause` | the end |
|---|---|---|---|---|---|
| any other Exception | the handler's | called | raised | FAILED | reset |
| RequestTimedOut, or cut by `Timeouts.request` | out of time | called | not raised | REQUEST | reset |
| FrameTooLarge, Incomplete, another PeerError | the peer's | called | not raised | PEER | proper |
| trio.BrokenResourceError of this connection | the peer is gone | not called | not raised | PEER | |
| trio.ClosedResourceError of a send, see `is_send_of_closer` | the handler's | called | raised | FAILED | |
| trio.ClosedResourceError after abort() or aclose() | none | not called | not raised | FINISHED | |

If the `on_error` function returns, the connection ends properly, so that its answer arrives. Of several
exceptions in a group the first in the order of the table counts.

An error is the peer's only if it comes from the peer's own connection: an error of another connection that a
handler uses is the handler's. So errors carry their connection (`PeerError._connection`, `wire.failure`).
"""

from __future__ import annotations

import os
import traceback
from typing import Final

import trio

from .. import transport
from ..model.errors import PeerError, RequestTimedOut
from ..model.events import Cause
from ..registry.registry import Entry
from ..registry.served import Served


class NotAwaitable(TypeError):
    """The handler returned something that cannot be awaited."""

    def __init__(self, handler: object, takes: str, result: object) -> None:
        super().__init__(
            f"handler must be an async function of {takes}: {handler!r} returned {result!r}, "
            "which cannot be awaited"
        )


#: The order in which causes count in a group.
_GRAVEST_FIRST: Final = (Cause.FAILED, Cause.REQUEST, Cause.PEER, Cause.FINISHED)


def blame(error: BaseException, served: Served) -> Cause:
    """Return the cause of an exception of the handler: PEER, REQUEST (the deadline), FINISHED (closed by the
    program), or FAILED (the handler's own).
    """
    if isinstance(error, ExceptionGroup):
        causes = {blame(one, served) for one in error.exceptions}
        # If one of several tasks failed by itself, an error of the peer in another does not excuse it.
        return next(cause for cause in _GRAVEST_FIRST if cause in causes)
    if isinstance(error, PeerError):
        if not _is_of(error._connection, served):
            return Cause.FAILED
        return Cause.REQUEST if isinstance(error, RequestTimedOut) else Cause.PEER
    wire = served.wire
    if isinstance(error, trio.BrokenResourceError) and wire.failure in _chain(error):
        return Cause.PEER
    if isinstance(error, trio.ClosedResourceError) and wire.is_closed:
        return Cause.FINISHED  # by abort() or aclose()
    return Cause.FAILED


def is_send_of_closer(error: Exception, entry: Entry) -> bool:
    """Whether an exception comes from a send of the handler after it has closed the connection itself. The
    exception has a note then that says so.

    A receive in this place is no mistake, since a loop over `lines()` ends so. Nor is a send by another task
    than the one that closed: that one cannot know. The exceptions of other tasks come in a group.
    """
    if not entry.closed_by_handler or isinstance(error, ExceptionGroup):
        return False
    calls = traceback.walk_tb(error.__traceback__)
    if not any(
        one.f_code.co_name in _SENDS and one.f_code.co_filename.startswith(_WIRES) for one, _ in calls
    ):
        return False
    if _SAID not in getattr(error, "__notes__", ()):
        error.add_note(_SAID)
    return True


_SENDS: Final = frozenset({"send_all", "send_eof", "send_file", "wait_send_all_might_not_block"})
#: The folder of the code that sends.
_WIRES: Final = os.path.dirname(os.path.abspath(transport.__file__)) + os.sep
_SAID: Final = (
    "The handler has closed this connection itself, before. What it sends must come first; a handler need "
    "not close at all: when it returns, the server does."
)


def _chain(error: BaseException) -> list[BaseException]:
    """Return an exception and its causes: a layer around a connection, such as TLS, raises its own errors
    from those of the connection.
    """
    chain = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    return chain


def _is_of(connection: object, served: Served) -> bool:
    """Whether `connection`, which raised an error, is what is served, or one carries the other. True also for
    None: an error that user code raised.
    """
    if connection is None or connection is served:
        return True
    return any(one is other for one in _layers(connection) for other in _layers(served))


def _layers(stream: object) -> list[object]:
    """Return a stream and the layers below it, down to the socket."""
    layers = [stream]
    while True:
        top = layers[-1]
        if isinstance(top, trio.SSLStream):
            below = top.transport_stream
        elif isinstance(top, trio.StapledStream):
            below = top.send_stream
        else:
            below = getattr(getattr(top, "wire", None), "transport", None)
        if below is None or any(below is one for one in layers):
            return layers
        layers.append(below)


def is_to_be_answered(error: BaseException, cause: Cause) -> bool:
    """Whether an `on_error` function is called: the handler failed, or the peer may still be there to get an
    answer.
    """
    if cause is not Cause.PEER:
        return cause in (Cause.FAILED, Cause.REQUEST)
    if isinstance(error, ExceptionGroup):
        return any(is_to_be_answered(one, cause) for one in error.exceptions)
    return isinstance(error, PeerError)
