"""The state of a socket's wire: the attributes that its receiving and its sending half share.

The two halves are mixed for two reasons. A receive gives the credit that a send uses, and a wait for the peer
that was ended is recorded with the bytes received and sent until then. Both files say which attributes they
use.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import Task

if TYPE_CHECKING:
    from ..registry.registry import Entry
    from .epoll import EpollReader
    from .write_batcher import WriteBatcher

#: In how many waits of a connection's life its task gives others their turn and looks again, rather than to
#: sleep. A client that closes when it has its answer takes some tens of microseconds, and a turn may be
#: shorter; from four on, more make no difference (docs/discussion/performance.md).
LOOKS: Final = 4


class SocketState:
    """The attributes of a `SocketWire`."""

    __slots__ = (
        "_at_end", "_batcher", "_credit", "_ended", "_epoll_reader", "_expired_at", "_fd", "_gathered",
        "_gone", "_interrupted", "_looks", "_lost", "_pushing", "_quiet", "_receiver", "_receiving",
        "_send_broken", "_sending", "_sock", "_wait_end", "_watched", "entry", "failure", "gathering",
        "input_ended", "is_closed", "just_begun", "received", "sent",
    )  # fmt: skip

    entry: Entry
    is_closed: bool
    #: The first error because the peer is gone; the cause of all later ones.
    failure: trio.BrokenResourceError | None
    #: How much had been received and sent when a wait for the peer was ended from this side, and whether it
    #: was idle.
    _wait_end: tuple[int, int, bool] | None
    #: How many bytes may be sent before others must have had their turn: see `socket_send.py`.
    _credit: int

    # Receiving

    received: int
    #: Its task has just begun to run: others have had their turn, and the first receive need not give it.
    just_begun: bool
    _receiving: bool
    _interrupted: bool
    #: How much had been received when an idle wait took too long. As long as no more has come, the stream
    #: looks as if it had ended there.
    _expired_at: int
    #: Cancelled when the peer has hung up, or this side has closed; a task waits for that in it.
    _gone: trio.CancelScope | None
    #: The last read emptied the socket, and nothing has come since: the next one has to wait.
    _quiet: bool
    #: The peer's end of stream has been read.
    input_ended: bool
    #: The epoll reader has seen the end of the stream, or an error.
    _at_end: bool
    #: Whether the epoll reader has this socket, and the task that sleeps until it reports input.
    _watched: bool
    _receiver: Task | None
    #: How many more waits give others a turn and try again, instead of sleeping.
    _looks: int

    # Sending

    sent: int
    #: Whether the peer has sent the next request already, and so does not wait for each answer before it
    #: sends more. Without a write batcher it makes no difference.
    gathering: bool
    _gathered: bytearray | None
    #: Set when the task is done that sends what was gathered and what the kernel did not take.
    _pushing: trio.Event | None
    _sending: bool
    _send_broken: str | None
    #: The end of the stream was sent.
    _ended: bool
    #: The kernel has reported a failure already, to a send that no task waited for.
    _lost: bool

    def __init__(
        self,
        sock: socket.socket,
        entry: Entry,
        epoll_reader: EpollReader | None = None,
        batcher: WriteBatcher | None = None,
    ) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self.entry = entry
        self.is_closed = False
        self.failure = self._wait_end = None
        self._credit = 0

        self._epoll_reader = epoll_reader
        self.received = 0
        self.just_begun = self._receiving = self._interrupted = False
        self._expired_at = -1
        self._quiet = self.input_ended = self._at_end = self._watched = False
        self._gone = self._receiver = None
        self._looks = LOOKS

        self._batcher = batcher
        self.sent = 0
        self.gathering = self._sending = self._ended = self._lost = False
        self._gathered = self._pushing = self._send_broken = None
