"""One request at a time. Try: printf 'hello' | nc -N localhost 9999"""

import sys

import triosock.compat as socketserver


class Shout(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data = self.request.recv(1024).strip()
        self.request.sendall(data.upper())


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9999
    with socketserver.TCPServer(("127.0.0.1", port), Shout) as server:
        print("listening on port", server.server_address[1], flush=True)
        server.serve_forever()
