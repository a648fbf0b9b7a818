"""Green servers whose listener other processes have too: none blocks the others' accepts."""

from __future__ import annotations

import os
import textwrap
from typing import Any

import pytest

from tests.programs import printed
from tests.waiting import eventually


@pytest.mark.parametrize("timeout", [None, 7.0])
def test_the_listener_is_nonblocking_while_the_loop_runs_and_the_program_does_not_see_it(
    start: Any, raw: Any, timeout: float | None
) -> None:
    running = start("GreenTCPServer", raw)
    listener = running.server.socket
    listener.settimeout(timeout)
    for _ in range(2):  # another process that has it may have changed it meanwhile
        os.set_blocking(listener.fileno(), True)
        client = running.dial(b"one")
        assert client.recv(10) == b"ONE"
        client.close()
        assert eventually(lambda: listener.gettimeout() == timeout)
        assert not os.get_blocking(listener.fileno())
    running.shutdown()
    assert listener.gettimeout() == timeout
    assert os.get_blocking(listener.fileno()) == (timeout is None)


HERD = """
import os, select, signal, socket, threading
from triosock import compat

class Named(compat.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(b"%d\\n" % os.getpid())

class Server(compat.GreenTCPServer):
    daemon_threads = True
    request_queue_size = 128

def serve():
    # Never returns: what is below is the parent's. A child ends by itself if it loses its parent.
    try:
        os.close(kept)
        threading.Thread(target=lambda: os._exit(len(os.read(inherited, 1))), daemon=True).start()
        server.serve_forever()
    finally:
        os._exit(1)

def ask(client):
    client.sendall(b"who\\n")
    if not select.select([client], [], [], 20)[0]:
        raise SystemExit(f"no answer from {named.get(client, 'a new one')}")
    return client.recv(100)

named, children = {}, []
inherited, kept = os.pipe()
server = Server(("127.0.0.1", 0), Named)
try:
    for _ in range(3):
        pid = os.fork()
        if not pid:
            serve()
        children.append(pid)
    for _ in range(100):
        clients = [socket.socket() for _ in range(3)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(server.server_address)
        select.select([], clients, [], 20)
        for client in clients:
            client.setblocking(True)
            name = ask(client)
            if name in named.values():
                client.close()
            else:
                named[client] = name  # one connection to each process stays
        for client in named:
            ask(client)
    print("all were answered")
finally:
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
"""


@pytest.mark.slow
def test_of_processes_that_were_forked_from_one_none_waits_in_accept_for_a_client_of_another() -> None:
    assert printed("-c", textwrap.dedent(HERD)) == "all were answered\n"
