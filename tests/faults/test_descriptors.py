"""More clients than descriptors, for real: the server survives, does not spin, and serves everybody in the
end.
"""

import errno
import re
import socket
from pathlib import Path

import pytest

from tests.faults.few_descriptors import FEW
from tests.programs import PATIENCE, running

PROGRAM = Path(__file__).with_name("few_descriptors.py")
CLIENTS = 2 * FEW
FAILED = re.compile(r"accept: (\d+) ([a-z ]+) (\S+) (\S+)\n")


def say_hello(client):
    client.sendall(b"hello\n")


def heard(client):
    return client.recv(100) == b"HELLO\n"


@pytest.mark.slow
def test_without_descriptors_it_waits_and_then_serves_all():
    with running(PROGRAM) as program:
        port = int(program.wait_for(r"port (\d+)\n")[1])
        clients = []
        for _ in range(CLIENTS):
            clients.append(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            say_hello(clients[-1])
        program.wait_for(r"(?s)(accept: .*){4}\n")

        for client in clients:  # each that is answered and goes gives its descriptor to the next in the queue
            assert heard(client)
            client.close()
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as one_more:
            say_hello(one_more)
            assert heard(one_more)
        assert program.stop() == 0

    failures = [
        (int(number), action, float(cpu), float(at))
        for number, action, cpu, at in FAILED.findall(program.output)
    ]
    assert {(number, action) for number, action, _, _ in failures} == {(errno.EMFILE, "back off")}
    # Once for each that left, and once for each wait, which together are no shorter than the time that
    # passed.
    first, last = failures[0], failures[3]
    assert last[3] - first[3] >= 0.1 + 0.2 + 0.4
    assert last[2] - first[2] < (last[3] - first[3]) / 2, "it was busy while it had nothing to do"
    assert len(failures) < 4 + 2 * CLIENTS
