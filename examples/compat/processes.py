"""A process for each request. The serving process keeps to a single thread, so that it can fork safely."""

import os
import sys

import triosock.compat as socketserver


class ProcessId(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"a child of %d\n" % os.getppid())


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9999
    with socketserver.ForkingTCPServer(("127.0.0.1", port), ProcessId) as server:
        print("listening on port", server.server_address[1], flush=True)
        server.serve_forever()
