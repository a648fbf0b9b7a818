"""A StreamRequestHandler, with a file for each direction. Try: nc localhost 9999, and type."""

import sys

import triosock.compat as socketserver


class ShoutLines(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9999
    with socketserver.ThreadingTCPServer(("127.0.0.1", port), ShoutLines) as server:
        print("listening on port", server.server_address[1], flush=True)
        server.serve_forever()
