"""A chat with handlers written for threads, each in a trio task: `python examples/compat/green_chat.py`.

Every member gets every line. It serves thousands at once: a waiting handler costs a few KiB and no thread.
Try it with `nc 127.0.0.1 8010` in several terminals; Ctrl-C drains.
"""

from __future__ import annotations

import sys
from typing import Any

from triosock import compat as socketserver

#: Handlers switch only when they wait, so this needs no lock.
members: set[socketserver.StreamRequestHandler] = set()


class Member(socketserver.StreamRequestHandler):
    """One member; the same class would work with `ThreadingTCPServer`, with a lock."""

    def setup(self) -> None:
        super().setup()
        members.add(self)

    def handle(self) -> None:
        for line in self.rfile:
            for member in tuple(members):
                try:
                    member.wfile.write(line)
                except OSError:
                    pass  # it has disconnected, and its own handler finds out

    def finish(self) -> None:
        members.discard(self)
        super().finish()


class ChatServer(socketserver.GreenTCPServer):
    """Configured as a threading server."""

    allow_reuse_address = True
    request_queue_size = 1024
    daemon_threads = True


def main(*arguments: str) -> Any:
    """Serve on 127.0.0.1 until Ctrl-C."""
    port = int(arguments[0]) if arguments else 8010
    with ChatServer(("127.0.0.1", port), Member) as server:
        print("chat on port", server.server_address[1], flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("bye")


if __name__ == "__main__":
    main(*sys.argv[1:])
