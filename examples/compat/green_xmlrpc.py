"""XML-RPC of the standard library in green tasks: `python examples/compat/green_xmlrpc.py [PORT]`.

A blocking function is called by `compat.blocking()`, which runs it in a worker thread.
"""

from __future__ import annotations

import sys
import time
from xmlrpc.server import SimpleXMLRPCDispatcher, SimpleXMLRPCRequestHandler

from triosock import compat


class Server(compat.GreenTCPServer, SimpleXMLRPCDispatcher):
    """`SimpleXMLRPCServer` is made of these two, with a `TCPServer`."""

    allow_reuse_address = True
    logRequests = False

    def __init__(self, address: tuple[str, int]) -> None:
        SimpleXMLRPCDispatcher.__init__(self, allow_none=True)
        compat.GreenTCPServer.__init__(self, address, SimpleXMLRPCRequestHandler)


def add(one: int, other: int) -> int:
    """Return the sum, at once."""
    return one + other


def slow_add(one: int, other: int) -> int:
    """Return the sum after a blocking call, as to a database; other clients are served meanwhile."""
    compat.blocking(time.sleep, 0.2)
    return one + other


def main(*arguments: str) -> None:
    """Serve on 127.0.0.1 until Ctrl-C."""
    port = int(arguments[0]) if arguments else 8012
    with Server(("127.0.0.1", port)) as server:
        server.register_function(add)
        server.register_function(slow_add)
        print("xml-rpc on port", server.server_address[1], flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("bye")


if __name__ == "__main__":
    main(*sys.argv[1:])
