"""Which request a thread handles: found on its stack, so that requests need not register it.

Rules of this file: the frame of the stock `finish_request()` has the book and the request as its variables;
the frames above it are those of the handler. Frames are only read.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ..stdlib.base import FINISHING

if TYPE_CHECKING:
    from types import FrameType

    from ..requests.table import Book


def book_of_thread() -> Book | None:
    """Return the book of the server whose request the calling thread handles, the innermost, or None."""
    return _book_of(sys._getframe())


def busy_books() -> set[Book]:
    """Return the books of all requests that are being handled in this process."""
    return {book for frame in sys._current_frames().values() if (book := _book_of(frame)) is not None}


def _book_of(frame: FrameType | None) -> Book | None:
    while frame is not None:
        if frame.f_code is FINISHING:
            book: Book | None = frame.f_locals.get("book")
            return book if book is not None and book.pid == os.getpid() else None
        frame = frame.f_back
    return None
