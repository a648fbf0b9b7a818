"""Ctrl-C and other signals, in programs of their own."""

from __future__ import annotations

import signal

import pytest

from tests.differential.programs import run

# Each of these starts several interpreters.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "kind", ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer", "ThreadingUDPServer"]
)
def test_ctrl_c_comes_through_at_once_and_the_server_can_be_served_again(kind: str) -> None:
    out = run(
        f"""
        server = socketserver.{kind}(("127.0.0.1", 0), Echo)
        for turn in range(2):
            kill_soon(signal.SIGINT)
            began = time.monotonic()
            try:
                server.serve_forever(poll_interval=30)
            except KeyboardInterrupt:
                say("interrupted", time.monotonic() - began < 5, threading.active_count())
            os.wait()
        server.server_close()
        """
    )
    assert out == ["interrupted True 1\ninterrupted True 1\n", "", 0]


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer"])
def test_a_signal_handler_runs_promptly_and_may_raise_or_set_the_flag(kind: str) -> None:
    run(
        f"""
        server = socketserver.{kind}(("127.0.0.1", 0), Echo)
        def handler(number, frame):
            say("handled in the main thread:", threading.current_thread() is threading.main_thread())
            if number == signal.SIGUSR1:
                return
            sys.exit(7)
        signal.signal(signal.SIGUSR1, handler)
        signal.signal(signal.SIGTERM, handler)
        kill_soon(signal.SIGUSR1, 0.1)
        kill_soon(signal.SIGTERM, 0.4)
        with server:
            server.serve_forever(poll_interval=30)
        """
    )


def test_the_handlers_of_the_program_are_left_alone() -> None:
    run(
        """
        class Server(socketserver.ThreadingTCPServer):
            ticks = 0
            def service_actions(self):
                self.ticks += 1
                say(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.set_wakeup_fd(-1))
                if self.ticks == 2:
                    raise SystemExit(4)
        Server(("127.0.0.1", 0), Echo).serve_forever(0.02)
        """
    )


def test_a_signal_arrives_while_a_sync_handler_sends_in_the_main_thread() -> None:
    run(
        """
        got = []
        def handler(number, frame):
            got.append(number)
        signal.signal(signal.SIGUSR1, handler)
        class Send(socketserver.BaseRequestHandler):
            def handle(self):
                kill_soon(signal.SIGUSR1, 0.1)
                self.request.sendall(b"x" * 5_000_000)
        server = socketserver.TCPServer(("127.0.0.1", 0), Send)
        count = []
        def read():
            with socket.create_connection(server.server_address) as client:
                while not got:
                    time.sleep(0.01)
                size = 0
                while part := client.recv(1 << 20):
                    size += len(part)
                count.append(size)
        reader = threading.Thread(target=read)
        reader.start()
        server.handle_request()
        reader.join()
        server.server_close()
        say(got, count)
        """
    )


def test_terminated_by_a_signal_without_a_handler() -> None:
    out = run(
        """
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
        say("serving")
        server.serve_forever(30)
        """,
        send=signal.SIGTERM,
    )
    assert out == ["serving\n", "soon", "", "", -signal.SIGTERM]
