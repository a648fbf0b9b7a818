"""Programs that change the world in which a server lives: the same becomes of both modules' servers in it."""

from __future__ import annotations

import os

import pytest

from tests.differential.programs import run

# Each of these starts several interpreters.
pytestmark = pytest.mark.slow


def test_a_mock_in_the_place_of_the_socket_class_meets_nothing_of_ours() -> None:
    out = run(
        """
        from unittest import mock
        class Server(socketserver.ThreadingTCPServer):
            pass
        with mock.patch("socket.socket") as fake:
            server = Server(("127.0.0.1", 0), Echo)
            say([str(one) for one in fake.mock_calls][:4])
        with Server(("127.0.0.1", 0), Echo) as server, serving(server):
            say(ask(server))
        """
    )
    assert "X" in str(out)


def test_a_mock_in_the_place_of_the_thread_class_stops_no_loop() -> None:
    run(
        """
        from unittest import mock
        class Server(socketserver.TCPServer):
            turns = 0
            def service_actions(self):
                self.turns += 1
                if self.turns == 3:
                    raise StopIteration
        helper = threading.Event()
        threading.Thread(target=helper.wait, daemon=True).start()
        socketserver.ThreadingMixIn  # so that there could be a thread of ours
        with Server(("127.0.0.1", 0), Echo) as server, mock.patch("threading.Thread") as fake:
            try:
                server.serve_forever(0.05)
            except StopIteration:
                say("ended by the hook", fake.call_count)
        """
    )


FREEZE = """
import time as clocks
REAL = {name: getattr(clocks, name) for name in ("time", "monotonic", "perf_counter", "sleep")}

def freeze():
    # As freezegun does it: in every module that has one of these, under whatever name.
    def stop(value):
        return lambda *args: value
    stopped = {REAL[name]: stop(REAL[name]()) for name in REAL if name != "sleep"}
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()) if module and module.__name__ != "__main__" else ():
            try:
                if value in stopped:
                    setattr(module, name, stopped[value])
                    changed.append((module, name, value))
            except (TypeError, AttributeError):
                pass

def thaw():
    for module, name, value in changed:
        setattr(module, name, value)

changed = []
"""


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer"])
def test_a_frozen_clock_stops_no_loop(kind: str) -> None:
    run(
        FREEZE
        + f"""
class Server(socketserver.{kind}):
    turns = 0
    daemon_threads = True
    def service_actions(self):
        self.turns += 1
server = Server(("127.0.0.1", 0), Echo)
serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
serving.start()
for step in (None, freeze, thaw):
    if step is not None:
        step()
    before, deadline = server.turns, REAL["monotonic"]() + 10
    while server.turns - before < 5 and REAL["monotonic"]() < deadline:
        REAL["sleep"](0.01)
    say("turns", server.turns - before >= 5)
server._BaseServer__shutdown_request = True
serving.join(10)
say("ended by the private flag", not serving.is_alive())
server.server_close()
"""
    )


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer"])
@pytest.mark.parametrize("answer", ["app", "any"])
def test_a_server_that_answers_for_others_is_asked_nothing_of_ours(kind: str, answer: str) -> None:
    run(
        f"""
        class App:
            motto = "hi"
        asked = set()
        class Server(socketserver.{kind}):
            def __init__(self, *args):
                super().__init__(*args)
                self.app = App()
            def __getattr__(self, name):
                asked.add(name)
                if {answer!r} == "app":
                    return getattr(self.app, name)
                if name.startswith("__"):
                    raise AttributeError(name)
                return lambda *args: name
        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(str(self.server.motto)[:2].encode())
        with Server(("127.0.0.1", 0), Handler) as server, serving(server, 0.05):
            say(ask(server))
            time.sleep(0.1)
        say(sorted(asked))
        """
    )


TLS = """
        import ssl, subprocess, tempfile
        folder = tempfile.mkdtemp()
        make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout k -out c"
        subprocess.run(make.split(), check=True, stderr=subprocess.DEVNULL, cwd=folder)
        ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ours.load_cert_chain(folder + "/c", folder + "/k")
        ours.verify_mode = ssl.CERT_REQUIRED
        ours.load_verify_locations(folder + "/c")
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        theirs.check_hostname = False
        theirs.load_verify_locations(folder + "/c")
        theirs.load_cert_chain(folder + "/c", folder + "/k")
"""


@pytest.mark.parametrize("method", ["get_request", "verify_request", "instance", "shutdown_request"])
@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer"])
def test_a_program_that_looks_at_the_certificate_sees_it_and_no_client_ends_the_server(
    method: str, kind: str
) -> None:
    run(
        TLS
        + f"""
        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(b"hello")
        def look(request):
            cert = request.getpeercert()
            say({method!r}, request.version(), cert and cert["subject"][0][0][1])
            return True
        class Server(socketserver.{kind}):
            if {method!r} == "get_request":
                def get_request(self):
                    request, address = super().get_request()
                    look(request)
                    return request, address
            elif {method!r} == "verify_request":
                def verify_request(self, request, address):
                    return look(request)
            elif {method!r} == "shutdown_request":
                def shutdown_request(self, request):
                    look(request)
                    super().shutdown_request(request)
        with Server(("127.0.0.1", 0), Handler) as server:
            if {method!r} == "instance":
                server.verify_request = lambda request, address: look(request)
            server.socket = ours.wrap_socket(server.socket, server_side=True)
            with serving(server, 0.05) as thread:
                for words in (b"GET / HTTP/1.0\\r\\n\\r\\n", b""):
                    with socket.create_connection(server.server_address, 10) as plain:
                        with contextlib.suppress(OSError):  # it may be reset at any point
                            plain.sendall(words)
                            plain.shutdown(socket.SHUT_WR)
                            while plain.recv(1000):
                                pass
                for _ in range(2):
                    with socket.create_connection(server.server_address, 10) as plain:
                        with theirs.wrap_socket(plain) as client:
                            # To the end, which comes after all that the server does with it.
                            said = [client.recv(10), client.recv(10)]
                    say(said)
                say("alive", thread.is_alive())
        """
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer"])
def test_a_server_may_be_locked_into_a_folder_without_a_module(kind: str) -> None:
    run(
        f"""
        import tempfile
        "x".encode("idna")
        server = socketserver.{kind}(("127.0.0.1", 0), Echo)
        child = os.fork()
        if not child:
            os.chroot(tempfile.mkdtemp())
            os.chdir("/")
            signal.alarm(10)
            server.serve_forever()
        say(ask(server))
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        server.server_close()
        """
    )


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "ThreadingUnixStreamServer"])
@pytest.mark.parametrize("fails", [False, True])
def test_all_is_freed_by_counting_references(kind: str, fails: bool) -> None:
    run(
        f"""
        import gc, weakref
        gc.disable()
        refs = []
        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                refs.extend(map(weakref.ref, (self, self.request)))
                if {fails}:
                    raise ValueError
                self.wfile.write(self.rfile.readline())
        class Server(socketserver.{kind}):
            def handle_error(self, *args):
                pass
        abstract = "\\0triosock" + str(time.monotonic_ns())
        address = abstract if "Unix" in {kind!r} else ("127.0.0.1", 0)
        server = Server(address, Handler)
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        client = socket.socket(server.address_family)
        client.connect(server.server_address)
        client.sendall(b"x\\n")
        try:
            client.recv(10)
        except ConnectionResetError:
            pass
        client.close()
        deadline = time.monotonic() + 10  # the thread of the request ends a little later
        while any(ref() for ref in refs) and time.monotonic() < deadline:
            time.sleep(0.01)
        say([ref() is None for ref in refs])
        server.shutdown()
        server.server_close()
        serving.join()
        gone = weakref.ref(server)
        del server, serving
        say("freed", gone() is None)
        """
    )


def test_annotations_can_be_asked_for() -> None:
    run(
        """
        import inspect, typing, unittest.mock
        for name in sorted(socketserver.__all__):
            thing = getattr(socketserver, name)
            say(name, typing.get_type_hints(thing), inspect.signature(thing, eval_str=True))
            for part in vars(thing).values():
                if inspect.isfunction(part):
                    typing.get_type_hints(part)
                    inspect.signature(part, eval_str=True)
        unittest.mock.create_autospec(socketserver.ThreadingTCPServer, instance=True).serve_forever()
        """
    )


def test_annotations_of_what_is_new_can_be_asked_for_too() -> None:
    import inspect
    import typing

    from triosock import compat

    for name in compat._NEW:
        thing = getattr(compat, name)
        typing.get_type_hints(thing)
        inspect.signature(thing, eval_str=True)
        for part in vars(thing).values() if isinstance(thing, type) else ():
            if inspect.isfunction(part):
                typing.get_type_hints(part)
    assert typing.get_type_hints(compat.drain)["server"] is compat.BaseServer
