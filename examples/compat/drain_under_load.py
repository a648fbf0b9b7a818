"""A threaded server is drained while clients are busy: idle ones end at once, busy ones get their answers."""

import socket
import threading

from triosock import compat

release = threading.Event()
working = threading.Barrier(4)


class Work(compat.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            if line == b"work\n":
                working.wait()
                release.wait()
            self.wfile.write(line.upper())


def client(address: tuple[str, int], request: bytes, answers: list[bytes]) -> None:
    with socket.create_connection(address) as sock:
        sock.sendall(request)
        answers.append(sock.makefile("rb").read())  # up to the end of the stream: one answer


if __name__ == "__main__":
    server = compat.ThreadingTCPServer(("127.0.0.1", 0), Work)
    threading.Thread(target=server.serve_forever).start()
    idle = socket.create_connection(server.server_address)
    answers: list[bytes] = []
    clients = [
        threading.Thread(target=client, args=(server.server_address, b"work\n", answers)) for _ in range(3)
    ]
    for thread in clients:
        thread.start()
    working.wait()  # all three handlers are busy
    threading.Timer(0.1, release.set).start()
    print(compat.drain(server, grace=10))
    print("the idle one got", idle.recv(100))
    idle.close()
    for thread in clients:
        thread.join()
    print("the busy ones got", answers)
    server.server_close()
