"""Datagrams. Try: echo hello | nc -u -w 1 localhost 9999"""

import sys

import triosock.compat as socketserver


class ShoutDatagram(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(data.upper(), self.client_address)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9999
    with socketserver.UDPServer(("127.0.0.1", port), ShoutDatagram) as server:
        print("listening on port", server.server_address[1], flush=True)
        server.serve_forever()
