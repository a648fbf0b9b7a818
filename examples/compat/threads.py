"""A thread for each request; here the main thread is the client."""

import socket
import threading

import triosock.compat as socketserver


class WhoAmI(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        name = threading.current_thread().name.partition(" ")[2]
        self.request.sendall(self.request.recv(1024) + f" from {name}".encode())


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    pass


def ask(address: tuple[str, int], text: str) -> str:
    with socket.create_connection(address) as client:
        client.sendall(text.encode())
        return client.recv(1024).decode()


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), WhoAmI) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        for number in (1, 2, 3):
            print(ask(server.server_address, f"answer {number}"))
        server.shutdown()  # returns at once, whatever the poll interval is
