"""The epoll reader: one edge-triggered epoll for the input of all connections of a server, on Linux.

trio's `wait_readable` makes a system call (epoll_ctl) for each wait, five Python calls deep. Here a socket is
registered once, when it first has to sleep, and the kernel reports each arrival. One task waits by trio for
the epoll's own descriptor, and wakes the tasks that have input. Without epoll, or with few connections, wires
use `wait_readable`.

The invariants:

1. **No input is missed.** An event is noted on its wire (`note_input`), whether or not a task waits there,
   and the note is reset only by a read that has emptied the socket. Everything that comes later is an event
   again. Between that read and the reset no other task runs, and so no event is taken from the kernel.
2. **The end of a stream is noted for ever**: it comes once, and perhaps together with the last bytes.
3. **An event reaches its own connection; a wrong one is harmless.** A descriptor leaves the epoll with its
   close, and no await stands between taking events from the kernel and notifying their wires, so its number
   cannot have been reused in between. If a copy of a closed descriptor still exists in a child process, its
   events may reach the next owner of the number, which wakes, finds nothing, and sleeps again.
4. **The epoll reader outlives every task that may wait for it**: it is shielded from cancellation, since
   cancelled handlers may still wait in shields of their own, and ends when the last connection has left. It
   closes its descriptor itself.
"""

from __future__ import annotations

import select
from typing import Final, Protocol, final

import trio

from ..registry.loop_lag import LagMeter
from ..registry.registry import NEVER

#: For fewer, the epoll reader's own wake-up costs more than the waits that it saves.
_CROWD: Final = 5
#: Events taken from the kernel at once; more wait for the next pass of trio's loop.
_BATCH: Final = 512


class Receiver(Protocol):
    """The receiver of input notifications."""

    def note_input(self, ended: bool) -> None:
        """Input has arrived. `ended`: with it, or earlier, the end of the stream or an error."""


@final
class EpollReader:
    """The epoll of one server, and the task `run()`. It must not be made without that task. `lag` is notified
    of activity.
    """

    def __init__(self, lag: LagMeter | None = None) -> None:
        self._lag = LagMeter() if lag is None else lag
        self._epoll = select.epoll()
        self._scope = trio.CancelScope(shield=True)
        self._receivers: dict[int, Receiver] = {}
        #: How many may wait for input. The server counts a new one up, and `leave` counts it down.
        self.users: int = 0
        self._retired = False
        self._interest = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
        self._ended = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

    @property
    def is_worth_it(self) -> bool:
        """Whether there are so many that waiting here is cheaper than `wait_readable`."""
        return self.users >= _CROWD

    def add(self, fd: int, receiver: Receiver) -> None:
        """Notify `receiver` of a descriptor's input until `remove`; also of input that is there already."""
        self._epoll.register(fd, self._interest)
        self._receivers[fd] = receiver

    def tell_acknowledged(self, fd: int, receiver: Receiver) -> None:
        """Notify `receiver`, which has sent its FIN, also when the peer's system has acknowledged it: when
        FIN_WAIT1 becomes FIN_WAIT2, the kernel reports EPOLLOUT (tcp_rcv_state_process()). This call causes
        one such report, too.
        """
        if self._receivers.get(fd) is receiver:
            self._epoll.modify(fd, self._interest | select.EPOLLOUT)

    def forget(self, fd: int, receiver: Receiver) -> None:
        """Stop notifying `receiver`, without a system call. For a descriptor that is about to be closed: the
        close takes it out of the epoll (epoll(7)).
        """
        if self._receivers.get(fd) is receiver:
            del self._receivers[fd]
        # Otherwise other code has closed it, and the number has a new owner.

    def remove(self, fd: int, receiver: Receiver) -> None:
        """Remove a descriptor that other code goes on using."""
        if self._receivers.get(fd) is not receiver:
            return
        del self._receivers[fd]
        try:
            self._epoll.unregister(fd)
        except OSError:
            pass  # other code has closed it, and so the kernel has taken it out

    def forget_all(self) -> None:
        """Forget all descriptors. In the child of a fork, which shares the epoll with its parent: to remove a
        descriptor would remove it there too.
        """
        self._receivers.clear()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Notify receivers until retired, even if everything around is cancelled."""
        epoll, receivers, ended, lag = self._epoll, self._receivers, self._ended, self._lag
        try:
            with self._scope:
                while True:
                    await trio.lowlevel.wait_readable(epoll.fileno())
                    lag.is_busy = True
                    if lag.due == NEVER:
                        lag.begin(trio.current_time())
                    for fd, flags in epoll.poll(0, _BATCH):
                        receiver = receivers.get(fd)
                        if receiver is not None:
                            receiver.note_input(flags & ended != 0)
        finally:
            epoll.close()

    def leave(self) -> None:
        """Count one user down."""
        self.users -= 1
        if self._retired:
            self.retire()

    def retire(self) -> None:
        """End `run()` as soon as there are no users."""
        self._retired = True
        if not self.users:
            self._scope.cancel(reason="triosock: no connection is left")


#: Whether this system has what an epoll reader needs.
HAS_EPOLL: Final = hasattr(select, "epoll")
