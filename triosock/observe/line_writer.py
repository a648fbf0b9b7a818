"""Writes lines to a file in a separate thread.

The rules:

1. On a full disk, or a pipe without a reader, lines are lost and counted, and no connection is delayed. If
   only a part of a line could be written, the next line begins on a new line.
2. **A regular file that was renamed or removed is opened again**, so that logrotate(8) needs no signal;
   `logging.handlers.WatchedFileHandler` does the same. Any other file is opened once.
3. Up to 100 queued lines are written by one call, in append mode: processes may share the file.
"""

from __future__ import annotations

import os
import stat
from types import TracebackType
from typing import TYPE_CHECKING, Final, final

from .background_thread import BackgroundThread

if TYPE_CHECKING:
    from typing import Self

#: The maximum of queued lines.
MAX_LINES: Final = 10_000


@final
class LineWriter:
    """Appends lines to a file: `async with LineWriter("access.log") as write:`, then ``write(line)``.

    Args: `file`, its path, or a descriptor, which it does not close; `mode`, the permission bits of a file
    that it creates; `grace`, the seconds (from 0 on) for which the end of the block waits until all lines are
    written.

    `dropped` counts the lines that were not written: more than 10,000 were queued, the file could not be
    opened or written, the block was not entered or was left, or `grace` was over. If the file cannot be
    opened, it is tried again with the next lines. Any thread may call the writer; a call never blocks.

    Cancellation: the end of the block is shielded from it, for `grace` seconds at most.

    Raises: TypeError, ValueError for a wrong `grace`; when the block is entered, OSError if the file cannot
    be opened (a FIFO only if it has a reader), and RuntimeError for a writer that was used before.
    """

    def __init__(self, file: str | os.PathLike[str] | int, *, mode: int = 0o640, grace: float = 1.0) -> None:
        self._path = None if isinstance(file, int) else os.fspath(file)
        self._descriptor = file if isinstance(file, int) else -1
        self._mode = mode
        self._identity: tuple[int, int] | None = None
        self._lines: list[str] = []
        self._lost = 0
        #: Whether the file ends with a part of a line.
        self._is_torn = False
        self._thread = BackgroundThread("triosock lines", grace=grace, most=MAX_LINES, at_end=self._finish)

    def __call__(self, line: str) -> None:
        """Queue a line, without its newline, to be written."""
        self._thread.put(self._take, line)

    @property
    def dropped(self) -> int:
        """The number of lines that were not written."""
        return self._thread.dropped + self._lost

    async def __aenter__(self) -> Self:
        self._open_again()
        try:
            await self._thread.__aenter__()
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._thread.__aexit__(kind, error, trace)

    # In the thread

    def _take(self, line: str) -> None:
        self._lines.append(line)
        if not self._thread.pending or len(self._lines) >= 100:
            self._flush()

    def _flush(self) -> None:
        lines = [f"{one}\n".encode("utf-8", "backslashreplace") for one in self._lines]
        self._lines.clear()
        left = b"".join(lines)
        try:
            self._open_again()
            if self._is_torn:
                os.write(self._descriptor, b"\n")
                self._is_torn = False
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            self._note_lost(lines, len(left))
            raise

    def _note_lost(self, lines: list[bytes], left: int) -> None:
        """Count the lines to which the last `left` bytes belong; note whether the first of them has begun."""
        while left > 0:
            left -= len(lines.pop())
            self._lost += 1
        self._is_torn = self._is_torn or left < 0

    def _open_again(self) -> None:
        """Open the file if it is not open, or if its path leads to another one now."""
        if self._path is None:
            return
        if self._descriptor >= 0:
            try:
                now = os.stat(self._path)
            except FileNotFoundError:
                pass
            else:
                if (now.st_dev, now.st_ino) == self._identity or not stat.S_ISREG(now.st_mode):
                    return
        self._close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        # Waiting for the reader of a pipe would hold up the start.
        descriptor = os.open(self._path, flags | os.O_NONBLOCK, self._mode)
        os.set_blocking(descriptor, True)
        opened = os.fstat(descriptor)
        identity = opened.st_dev, opened.st_ino
        self._is_torn = self._is_torn and identity == self._identity
        self._descriptor, self._identity = descriptor, identity

    def _finish(self) -> None:
        try:
            if self._lines:
                self._flush()
        finally:
            self._close()

    def _close(self) -> None:
        if self._path is not None and self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
