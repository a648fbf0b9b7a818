"""Finds the request that a thread handles on its stack, so that requests need not register their threads.

Rules of this file: the frame of the stock `finish_request()` has the request table (`ours`) and the request
as variables; the frames that it has called are those of the handler. Frames are only read.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ..stdlib.base import FINISHING

if TYPE_CHECKING:
    from types import FrameType

    from ..requests.table import RequestTable


def request_table_of_thread() -> RequestTable | None:
    """Return the request table of the server whose request the calling thread handles; the innermost one, if
    it handles several; None if it handles none.
    """
    return _request_table_of(sys._getframe())


def busy_request_tables() -> set[RequestTable]:
    """Return the request tables of all requests that are being handled in this process."""
    return {
        request_table
        for frame in sys._current_frames().values()
        if (request_table := _request_table_of(frame)) is not None
    }


def _request_table_of(frame: FrameType | None) -> RequestTable | None:
    while frame is not None:
        if frame.f_code is FINISHING:
            request_table: RequestTable | None = frame.f_locals.get("ours")
            return request_table if request_table is not None and request_table.pid == os.getpid() else None
        frame = frame.f_back
    return None
