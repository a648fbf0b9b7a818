"""A process that has green requests forks: what becomes of them in the child."""

from __future__ import annotations

import pytest

from tests.programs import printed

IN_A_CHILD = """
import os, socket, threading
from triosock import compat

class Waits(compat.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"here")
        self.request.recv(1)
        ended.append(os.getpid())

ended = []
server = compat.GreenTCPServer(("127.0.0.1", 0), Waits)
loop = threading.Thread(target=server.serve_forever)
loop.start()
client = socket.create_connection(server.server_address)
client.recv(10)
server.shutdown()  # so that the child gets the clients
loop.join()
if not os.fork():
    client.close()
    {child}
    print("closed", ended == {ended}, flush=True)
    os._exit(0)
os.wait()
client.close()
server.server_close()
"""
CLOSES = "server.server_close()"
SERVES_BEFORE = """own = socket.create_connection(server.server_address)
    server.handle_request()
    assert own.recv(10) == b"here" and len(server._threads) == 1
    threading.Timer(0.1, own.close).start()
    server.server_close()"""


@pytest.mark.parametrize(("child", "ended"), [(CLOSES, "[]"), (SERVES_BEFORE, "[os.getpid()]")])
def test_a_forked_child_that_closes_the_server_waits_for_its_own_requests(child: str, ended: str) -> None:
    program = IN_A_CHILD.format(child=child, ended=ended)
    assert printed("-W", "ignore", "-c", program) == "closed True\n"


FORKS_ITSELF = """
import os, socket, threading
from triosock import compat

class Handler(compat.BaseRequestHandler):
    def handle(self):
        if self.request.recv(4) == b"wait":
            self.request.sendall(b"here")
            self.request.recv(1)
            print("the parent" if os.getpid() == parent else "a copy in the child", flush=True)
        elif os.fork():
            compat.blocking(os.wait)
        else:
            try:
                for _ in range(20):
                    self.request.sendall(b".")
                self.request.recv(1)
            except RuntimeError as error:
                print("the child of a fork" in str(error), flush=True)
            finally:
                os._exit(0)

parent = os.getpid()
server = compat.GreenTCPServer(("127.0.0.1", 0), Handler)
loop = threading.Thread(target=server.serve_forever)
loop.start()
others = [socket.create_connection(server.server_address) for _ in range(5)]
for other in others:
    other.sendall(b"wait")
    other.recv(4)
with socket.create_connection(server.server_address) as client:
    client.sendall(b"fork")
    got = b""
    while data := client.recv(100):
        got += data
    print(got == 20 * b".", flush=True)
for other in others:
    other.sendall(b"x")
    other.recv(1)
    other.close()
server.shutdown()
loop.join()
server.server_close()
"""


def test_a_handler_that_forks_has_no_other_request_run_in_the_child() -> None:
    assert printed("-W", "ignore", "-c", FORKS_ITSELF) == "True\nTrue\n" + "the parent\n" * 5


LEAVES_THE_HANDLER = """
import os, socket, sys, threading
from triosock import compat

class Handler(compat.BaseRequestHandler):
    def handle(self):
        if child := os.fork():
            print("status", compat.blocking(os.waitpid, child, 0)[1], flush=True)
        else:
            print("in the child", flush=True)
            {end}

    def finish(self):
        print("finished by", "the parent" if os.getpid() == parent else "the child", flush=True)

parent = os.getpid()
sys.stderr = sys.stdout
server = compat.GreenTCPServer(("127.0.0.1", 0), Handler)
loop = threading.Thread(target=server.serve_forever)
loop.start()
with socket.create_connection(server.server_address) as client:
    client.recv(1)  # the end of the stream, when the child has shut it down
server.shutdown()
loop.join()
server.server_close()
print("closed by", "the parent" if os.getpid() == parent else "the child", flush=True)
"""


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("return", None),
        ("raise LookupError('of the handler')", "LookupError: of the handler"),
        ("raise KeyboardInterrupt('of the handler')", "KeyboardInterrupt: of the handler"),
        ("raise SystemExit(3)", None),
    ],
)
def test_a_handler_that_forks_and_returns_in_the_child_ends_the_child(end: str, error: str | None) -> None:
    out = printed("-W", "ignore", "-c", LEAVES_THE_HANDLER.format(end=end)).splitlines()
    in_order = [
        "in the child",
        "finished by the child",
        "status 0",
        "finished by the parent",
        "closed by the parent",
    ]
    assert [line for line in out if line in in_order] == in_order
    assert out.count(error) == (error is not None)
    assert error is not None or out == in_order


TAKES_IT_AWAY = """
import os, socket, threading
from triosock import compat

class Handler(compat.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(4):
            if data == b"fork":
                if not os.fork():
                    socket.socket(fileno=self.request.detach()).close()
                    os._exit(0)
                compat.blocking(os.wait)
            self.request.sendall(data)

server = compat.GreenTCPServer(("127.0.0.1", 0), Handler)
loop = threading.Thread(target=server.serve_forever)
loop.start()
clients = [socket.create_connection(server.server_address, 20) for _ in range(6)]
for data in (b"ping", b"ping", b"ping", b"ping"):
    for client in clients:  # so many, and so often, that the requests share an epoll
        client.sendall(data)
        client.recv(4)
try:
    for data in (b"fork", b"ping", b"ping", b"ping"):
        clients[0].sendall(data)
        print(clients[0].recv(4), flush=True)
except TimeoutError:
    print("no answer", flush=True)
for client in clients:
    client.close()
server.shutdown()
loop.join()
server.server_close()
"""


def test_a_forked_child_that_takes_the_socket_leaves_it_to_the_parent_too() -> None:
    expected = "".join(f"{data!r}\n" for data in (b"fork", b"ping", b"ping", b"ping"))
    assert printed("-W", "ignore", "-c", TAKES_IT_AWAY) == expected
