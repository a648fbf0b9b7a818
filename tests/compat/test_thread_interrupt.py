"""Exceptions raised in the threads of requests leave nothing behind in the interpreter."""

from __future__ import annotations

import textwrap

from tests.programs import printed

PROGRAM = """
    import socket, sys, threading
    from triosock import compat

    begun, gate = threading.Event(), threading.Event()
    ends = []

    class Handler(compat.BaseRequestHandler):
        def handle(self):
            try:
                begun.set()
                self.request.recv(1)
                gate.wait()
            except compat.RequestCut:
                ends.append("cut")

    class Server(compat.ThreadingTCPServer):
        trio_policy = compat.Policy(grace=0)

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with socket.create_connection(server.server_address) as client:
            client.sendall(b"busy")
            begun.wait()
            # The cut ends the stream; the wait of the handler is one that no exception reaches.
            threading.Thread(target=lambda: (client.recv(1), gate.set())).start()
            compat.drain(server)
        thread.join()

    calls = []

    def function():
        pass

    sys.setprofile(lambda frame, event, arg: calls.append(event))
    function()
    sys.setprofile(None)
    print(ends, "call" in calls)
"""


def test_a_profiler_works_after_a_cut() -> None:
    # CPython 3.11 never leaves the entry of a traced function while the flag of a pending exception is set,
    # and 3.12 takes the slow way into each call.
    assert printed("-c", textwrap.dedent(PROGRAM)) == "['cut'] True\n"
