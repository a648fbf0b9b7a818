"""Copied into the virtual environment of each package, where a .pth file imports it when Python starts.

Rules of this file:

1. With `STAND_IN_FOR_SOCKETSERVER=1` every process of that environment has triosock.compat as its
   socketserver before any other import: also the processes that a test starts, which
   `python -m triosock.compat` would miss.
2. In both runs one byte goes to the file `SERVERS_BOUND` for each socket that a server binds, so that the
   table can say that there were servers at all. An audit hook is told of it, and changes nothing of what is
   audited.
"""

from __future__ import annotations

import os
import sys
from types import FrameType

_OURS = (os.path.join("triosock", "compat", "stdlib", "servers.py"), "socketserver.py")
#: From `bind` to a `server_bind` that was overridden, and calls the original one.
_FRAMES = 6


def _of_a_server(frame: FrameType | None) -> bool:
    for _ in range(_FRAMES):
        if frame is None:
            return False
        if frame.f_code.co_filename.endswith(_OURS):
            return True
        frame = frame.f_back
    return False


def _listen(event: str, _: tuple[object, ...]) -> None:
    if event == "socket.bind" and _of_a_server(sys._getframe(1)):
        note = os.open(os.environ["SERVERS_BOUND"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(note, b".")
        os.close(note)


if os.environ.get("STAND_IN_FOR_SOCKETSERVER") == "1":
    from triosock import compat

    compat.install()
if "SERVERS_BOUND" in os.environ:
    sys.addaudithook(_listen)
