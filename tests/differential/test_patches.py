"""Programs that put something in the place of a function while a server is there: the same becomes of both
modules' servers, also of those that wait at that moment.
"""

from __future__ import annotations

import pytest

from tests.differential.programs import run
from tests.differential.test_worlds import FREEZE, TLS

# Each of these starts several interpreters.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        "socket.socket.send",
        "socket.socket.recv",
        "socket.socket.fileno",
        "socket.socketpair",
        "select.epoll",
        "select.poll",
        "os.read",
        "os.write",
        "threading.Lock",
        "threading.RLock",
        "threading.Event",
        "time.monotonic",
    ],
)
def test_what_takes_the_place_of_a_function_stops_no_idle_server(name: str) -> None:
    # With threads, so that the wait is in the host.
    out = run(
        f"""
        from unittest import mock
        class Server(socketserver.ThreadingTCPServer):
            turns = 0
            daemon_threads = True
            def service_actions(self):
                self.turns += 1
        def goes_on():
            before, end = server.turns, time.perf_counter() + 10
            while server.turns < before + 5 and time.perf_counter() < end:
                time.sleep(0.05)
            return server.turns >= before + 5
        with Server(("127.0.0.1", 0), Echo) as server, serving(server, 0.05):
            say(goes_on())
            with mock.patch({name!r}, return_value=b"made up"):
                say(goes_on())
            say(goes_on(), ask(server), goes_on())
        """
    )
    assert "True\nTrue\nTrue b'X\\n' True\n" in out[0]


@pytest.mark.parametrize(
    "name",
    [
        "os.read",
        "os.write",
        "os.close",
        "os.eventfd",
        "os.pipe",
        "os.getpid",
        "os.pidfd_open",
        "threading.Lock",
        "threading.RLock",
        "select.poll",
    ],
)
@pytest.mark.parametrize("kind", ["TCPServer", "ForkingTCPServer"])
def test_what_takes_the_place_of_a_function_is_nothing_to_a_server_that_waits_alone(
    kind: str, name: str
) -> None:
    # From before the first request on, and with a shutdown() that ends a wait of the second loop.
    run(
        f"""
        import subprocess
        from unittest import mock
        class Server(socketserver.{kind}):
            turns = 0
            def service_actions(self):
                super().service_actions()
                self.turns += 1
        server = Server(("127.0.0.1", 0), Echo)
        words = '''if True:
            import os, signal, socket, sys, time
            for _ in range(2):
                with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10) as client:
                    client.sendall(b"x")
                    client.shutdown(socket.SHUT_WR)
                    print(client.recv(9), flush=True)
                time.sleep(0.2)
            os.kill(int(sys.argv[2]), signal.SIGUSR1)
            time.sleep(0.5)
            os.kill(int(sys.argv[2]), signal.SIGUSR2)
        '''
        def begin(*args):
            # A wake-up from somebody who has changed his mind; the standard library's loop has none.
            for wake in getattr(vars(server).get("_BaseServer__triosock"), "wakers", ()):
                wake()
            server.before = server.turns
        def end(*args):
            server.during = server.turns - server.before
            server._BaseServer__shutdown_request = True
        signal.signal(signal.SIGUSR1, begin)
        signal.signal(signal.SIGUSR2, end)
        port, pid = str(server.server_address[1]), str(os.getpid())
        client = subprocess.Popen([sys.executable, "-c", words, port, pid])
        with mock.patch({name!r}, return_value=b"made up", create=True):
            server.serve_forever(0.05)
        client.wait()
        say("turns", 1 <= server.during <= 100 or server.during)
        server.server_close()
        """
    )


def test_a_function_in_the_place_of_the_socket_class_is_called_as_by_the_standard_library() -> None:
    out = run(
        """
        from unittest import mock
        calls = []
        real = socket.socket
        def made(*args, **kwargs):
            calls.append((len(args), sorted(kwargs)))
            return real(*args, **kwargs)
        with socketserver.TCPServer(("127.0.0.1", 0), Echo) as server, real() as client:
            client.connect(server.server_address)
            client.sendall(b"x")
            client.shutdown(socket.SHUT_WR)
            with mock.patch("socket.socket", made):
                server.handle_request()
            say(calls, client.recv(9))
        """
    )
    assert "(3, ['fileno'])" in out[0]


def test_a_frozen_clock_cuts_no_request_of_a_policy() -> None:
    run(
        FREEZE
        + """
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        REAL["sleep"](0.3)
        self.wfile.write(self.rfile.readline().upper())
class Server(socketserver.ThreadingTCPServer):
    pass
if "triosock" in socketserver.__name__:
    Server.trio_policy = socketserver.Policy(request_timeout=3)
with Server(("127.0.0.1", 0), Handler) as server, serving(server, 0.05):
    say(ask(server))
    freeze()
    REAL["sleep"](3.5)  # longer than the request_timeout
    say([ask(server) for _ in range(8)])
    thaw()
    say(ask(server))
"""
    )


@pytest.mark.parametrize("hook", ["handle_error", "shutdown_request"])
@pytest.mark.parametrize("kind", ["ThreadingTCPServer", "ForkingTCPServer"])
def test_a_request_for_which_there_is_no_thread_has_its_handshake_done(kind: str, hook: str) -> None:
    # The handshake was left to the thread or process, and there is none.
    run(
        TLS
        + f"""
        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(b"hello")
        class Server(socketserver.{kind}):
            def handle_error(self, request, address):
                if {hook!r} == "handle_error":
                    say(repr(sys.exc_info()[1]), request.version(), bool(request.getpeercert()))
            if {hook!r} == "shutdown_request":
                def shutdown_request(self, request):
                    say(request.version()) if full else None
                    super().shutdown_request(request)
        full = False
        def refuse(*args):
            raise BlockingIOError("no more")
        def talk():
            try:
                with socket.create_connection(server.server_address, 5) as plain:
                    with theirs.wrap_socket(plain) as client:
                        say(client.recv(10))
            except OSError as error:
                say("refused")
        server = Server(("127.0.0.1", 0), Handler)
        server.socket = ours.wrap_socket(server.socket, server_side=True)
        with serving(server, 0.05) as thread:
            talk()
            real = os.fork, threading.Thread.start
            os.fork, threading.Thread.start, full = refuse, refuse, True
            talk()
            with socket.create_connection(server.server_address, 5) as plain:
                plain.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
                try:
                    plain.recv(10)
                except OSError:
                    pass
            os.fork, threading.Thread.start = real
            full = False
            say("alive", thread.is_alive())
            talk()
        server.block_on_close = False
        if hasattr(server, "_threads"):
            del server._threads
        server.server_close()
        """
    )
