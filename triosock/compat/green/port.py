"""The interface of green mode for other packages, in `requests.table.port.parts`: see `requests/ports.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

from . import accepting, check, group, tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from triosock.compat.requests.ports import GreenTask, GreenWait, Group
    from triosock.compat.requests.table import RequestTable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class GreenPort:
    """The implementation of `ports.GreenPart`."""

    def check(self, server: object) -> None:
        """Raise TypeError if a server cannot be green."""
        check.check(server)

    def group(self, request_table: RequestTable) -> Group:
        """Return the group of the requests of a green server."""
        return group.Group(request_table)

    def current(self) -> GreenTask | None:
        """Return the green request that the calling code handles."""
        return tasks.current()

    def wait(self, async_fn: Callable[[*Ts], Awaitable[T]], *args: Unpack[Ts]) -> T:
        """Run an async function from a green handler."""
        return tasks.wait(async_fn, *args)

    def blocking(self, fn: Callable[[*Ts], T], *args: Unpack[Ts]) -> T:
        """Run a blocking function from a green handler."""
        return tasks.blocking(fn, *args)

    async def accept(self, waiting: GreenWait, fd: int) -> bool:
        """Accept requests in the trio thread; return whether the serving thread must accept the next one."""
        return await accepting.accept(waiting, fd)


PORT = GreenPort()
