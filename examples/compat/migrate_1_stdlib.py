"""Migration, before: a server of the standard library."""

import socketserver
import sys


class Shout(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


if __name__ == "__main__":
    with socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Shout) as server:
        print("listening on port", server.server_address[1], flush=True)
        server.serve_forever()
