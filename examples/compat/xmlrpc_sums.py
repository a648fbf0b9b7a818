"""An XML-RPC service whose functions call async code: compat.run() runs it in the server's trio run."""

import sys

import trio

from triosock import compat

compat.install()

from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer  # noqa: E402


class Server(compat.ThreadingMixIn, SimpleXMLRPCServer):
    trio_policy = compat.Policy(request_timeout=30)


async def slow_sum(numbers: list[int]) -> int:
    await trio.sleep(0.01)
    return sum(numbers)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with Server(("127.0.0.1", port), SimpleXMLRPCRequestHandler, logRequests=False) as server:
        server.register_function(lambda numbers: compat.run(slow_sum, numbers), "sum")
        print("listening on port", server.server_address[1], flush=True)
        server.serve_forever()
