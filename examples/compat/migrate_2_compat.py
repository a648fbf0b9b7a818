"""Migration, step 1: the same handler in a trio program. Signals drain it now, and native servers can run
beside it.
"""

import sys

import triosock
import triosock.compat as socketserver


class Shout(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


async def main() -> None:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Shout)
    print("listening on port", server.server_address[1], flush=True)
    await socketserver.serve(server)


if __name__ == "__main__":
    triosock.run(main)
