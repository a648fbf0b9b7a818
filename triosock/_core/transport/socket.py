"""The wire of a socket: the two halves together, and how they end.

The invariants:

1. **Closing loses nothing that the kernel would have taken**, and no task sleeps on a closed socket.
2. **A peer that could not know of the end is not reset.** A close while the peer may still send makes the
   kernel answer with a reset, so the peer's own end is waited for. One case needs no such wait: the
   connection was idle, nothing was sent since, and the peer's system has acknowledged the end of stream. What
   the peer sent before that has arrived by then, and is read; what it sends afterwards comes after its system
   knew of the end. (On Linux even such a peer reads the end of the stream, and no error: a reset that follows
   it fails only writes, tcp_reset() in the kernel.)
"""

from __future__ import annotations

import socket
import struct
import sys

import trio
from trio.lowlevel import notify_closing

from .checkpoints import checkpoint
from .hang_up import wait_hang_up
from .interface import RECEIVE_SIZE
from .socket_send import SocketSending

if sys.platform == "linux":
    import fcntl
    import termios


class SocketWire(SocketSending):
    """A connected, non-blocking stream socket of the standard library, and the entry whose waits it
    records.

    It waits for input in `epoll_reader`, and gathers answers for `batcher`, if there are any.
    """

    can_half_close = True

    __slots__ = ()

    async def wait_peer_gone(self) -> None:
        """Return when the peer has shut down or closed its side, or reset the connection. Input stays where
        it is. A checkpoint.
        """
        if self.is_closed:
            raise trio.ClosedResourceError("this connection is closed")
        if self._gone is not None:
            raise trio.BusyResourceError("another task waits for the peer of this connection to hang up")
        try:
            with trio.CancelScope() as self._gone:
                if self._epoll_reader is None:
                    await wait_hang_up(self._fd)
                else:
                    self._watch(self._epoll_reader)
                    if self._at_end:
                        self._gone.cancel()
                    await trio.sleep_forever()
        finally:
            self._gone = None
        if self.is_closed:
            raise trio.ClosedResourceError("another task closed this connection")

    def tell_gone(self) -> None:
        """End the wait for the peer to hang up, if there is one: this wire is closed."""
        if self._gone is not None:
            self._gone.cancel()

    @property
    def transport(self) -> socket.socket:
        """The socket."""
        return self._sock

    async def linger(self) -> None:
        """Half-close, then discard input until the peer has closed too. The caller bounds the time.

        After an idle wait an acknowledgement of the FIN is enough: see the second invariant.
        """
        if self.input_ended:
            return  # close(2) sends the FIN, and no reset, since no input can be unread
        self._send_end()
        briefly = self.ended_idle and self._can_see_acknowledgement()
        while not self.is_closed:
            try:
                if not socket.socket.recv(self._sock, RECEIVE_SIZE):
                    return
                await checkpoint()  # a peer that never stops must not keep the others from their turn
            except BlockingIOError:
                if briefly and _is_acknowledged(self._sock):
                    return
                await self._wait_input(False)
            except OSError:
                return  # reset: there is nothing left to lose

    def _can_see_acknowledgement(self) -> bool:
        """Have the wait for input end also when our FIN is acknowledged; return whether that can be seen."""
        if self._sock.family == getattr(socket, "AF_UNIX", None):
            return True  # no network is between, so the peer's system is this one
        if self._epoll_reader is None:
            return False
        self._watch(self._epoll_reader)
        self._epoll_reader.tell_acknowledged(self._fd, self)
        return True

    def _send_end(self) -> None:
        self._shutdown_send()

    def close_now(self, *, reset: bool = False) -> None:
        """Close the socket; waiting tasks get ClosedResourceError. With `reset` the kernel sends a reset and
        discards what was unsent.
        """
        if self.is_closed:
            return
        if self._gathered is not None:
            if not reset:
                self.flush_nowait()
            self._gathered = None  # what the kernel does not take now is never sent
        self.is_closed = True
        self.tell_gone()
        if self._receiving:
            self._wake_reader()
        if self._sending:
            notify_closing(self._fd)
        if self._watched:
            self._leave_epoll_reader()
        try:
            if reset:
                # l_onoff=1, l_linger=0: socket(7)
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            self._sock.close()

    async def aclose_now(self, *, reset: bool = False) -> None:
        """The same as `close_now()`."""
        self.close_now(reset=reset)


def _is_acknowledged(sock: socket.socket) -> bool:
    """Whether the peer's system has acknowledged all that was sent, the FIN included; False if that is not
    known.
    """
    if sock.family == getattr(socket, "AF_UNIX", None):
        return True
    if sys.platform != "linux":
        return False
    try:
        # tcp(7), SIOCOUTQ: the bytes that are not acknowledged, and the end of the stream counts as one.
        waiting = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return False
    return not int.from_bytes(waiting, sys.byteorder)
