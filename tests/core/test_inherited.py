"""What a service manager hands down, in a process of its own: the descriptors begin with 3, and the process
id must be right.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.waiting import eventually
from triosock._core.listeners import systemd
from triosock._core.listeners.systemd import inherited_listeners

#: Stands in for the service manager: puts the descriptors from 3 on, and runs the program without another
#: fork.
MANAGER = """
import os, sys
pid, names, *descriptors = sys.argv[1:]
held = [os.dup(int(descriptor)) for descriptor in descriptors]  # out of the way of 3, 4, ...
held = [os.dup2(one, 100 + index) for index, one in enumerate(held)]
for index, one in enumerate(held):
    os.dup2(one, 3 + index)
    os.close(one)
os.environ.update(LISTEN_PID=pid.replace("self", str(os.getpid())), LISTEN_FDS=str(len(held)))
if names != "-":
    os.environ["LISTEN_FDNAMES"] = names
os.execv(sys.executable, [sys.executable, "-X", "dev", "-W", "error", "-c", sys.stdin.read()])
"""
PRELUDE = """
import os, socket
import triosock
from triosock import inherited_listeners

def show_and_close(*sockets):
    for one in sockets:
        print(getattr(one, "socket", one).getsockname()[1])
        one.close()

def refused(names, words, take=inherited_listeners):
    try:
        take(names)
    except ValueError as error:
        assert words in str(error), error
    else:
        raise AssertionError("accepted")
"""


def run(program: str, sockets: Sequence[socket.socket], names: str = "-", pid: str = "self") -> list[str]:
    """Run `program` with these sockets handed down; return the words that it prints."""
    descriptors = [sock.fileno() for sock in sockets]
    done = subprocess.run(
        [sys.executable, "-c", MANAGER, pid, names, *map(str, descriptors)],
        input=PRELUDE + textwrap.dedent(program),
        pass_fds=descriptors,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.split()


@pytest.fixture
def two() -> Iterator[list[socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        yield [first, second]


def port(sock: socket.socket) -> str:
    return str(sock.getsockname()[1])


def test_all_sockets_come_in_order_and_the_variables_are_gone(two: list[socket.socket]) -> None:
    program = """
        listeners = inherited_listeners()
        assert not any(name.startswith("LISTEN_") for name in os.environ)
        assert not any(os.get_inheritable(listener.socket.fileno()) for listener in listeners)
        assert inherited_listeners() == []
        show_and_close(*listeners)
    """
    assert run(program, two) == [port(sock) for sock in two]


def test_names_choose_in_the_order_given_and_the_others_remain_for_later(two: list[socket.socket]) -> None:
    program = """
        (admin,) = inherited_listeners(["admin", "admin"])
        refused(["admin"], "no socket named 'admin' was handed down, or it is taken; there are: http")
        (http,) = inherited_listeners(["http"])
        refused(["http"], "there are: none")
        show_and_close(admin, http)
    """
    assert run(program, two, "http:admin") == [port(two[1]), port(two[0])]


def test_several_names_give_their_sockets_in_the_order_of_the_names(two: list[socket.socket]) -> None:
    program = 'show_and_close(*inherited_listeners(["admin", "http"]))'
    assert run(program, two, "http:admin") == [port(two[1]), port(two[0])]


def test_several_sockets_may_have_one_name_and_those_without_are_unknown(two: list[socket.socket]) -> None:
    program = """
        refused(["http", "x"], "no socket named 'x'")
        show_and_close(*inherited_listeners(["{name}"]))
    """
    ports = [port(sock) for sock in two]
    assert run(program.format(name="http"), two, "http:http") == ports
    assert run(program.replace('"http", ', "").format(name="unknown"), two) == ports


def test_a_name_that_was_not_handed_down_takes_nothing(two: list[socket.socket]) -> None:
    program = """
        refused(["http", "htpp"], "no socket named 'htpp' was handed down")
        show_and_close(*inherited_listeners(["http"]))
    """
    assert run(program, two, "http:admin") == [port(two[0])]


@pytest.mark.parametrize("pid", ["1", "", "self0"])
def test_what_was_meant_for_another_process_is_left_alone(two: list[socket.socket], pid: str) -> None:
    program = """
        assert inherited_listeners() == []
        assert "LISTEN_FDS" in os.environ
        refused(["http"], "there are: none")
        print(os.fstat(3).st_ino)
    """
    assert run(program, two, pid=pid) == [str(os.fstat(two[0].fileno()).st_ino)]


def test_a_number_that_is_none_is_no_socket_at_all() -> None:
    program = """
        os.environ["LISTEN_FDS"] = "many"
        assert inherited_listeners() == []
    """
    run(program, [])


def test_a_process_that_was_forked_off_has_inherited_nothing(two: list[socket.socket]) -> None:
    program = """
        def inherited_by_a_child():
            child = os.fork()
            if child == 0:
                os._exit(len(inherited_listeners()))
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

        assert inherited_by_a_child() == 0
        listeners = inherited_listeners()
        assert inherited_by_a_child() == 0
        show_and_close(*listeners)
    """
    assert run(program, two) == [port(sock) for sock in two]


def test_a_descriptor_that_is_no_listener_is_a_value_error_and_everything_is_left_as_it_was(
    two: list[socket.socket],
) -> None:
    program = """
        for _ in range(2):
            refused({names}, "{words}")
            assert os.fstat(3) and os.fstat(4)
        (listener,) = inherited_listeners(["good"])
        listener.close()
    """
    with socket.socket(type=socket.SOCK_DGRAM) as dgram, socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        wrong_kind = program.format(names=["good", "bad"], words="needs a stream socket, not SOCK_DGRAM")
        run(wrong_kind, [two[0], dgram], "good:bad")
        run(program.format(names=None, words="does not listen"), [two[0], deaf], "good:bad")
    # Not a socket at all: standard input, which the manager hands down like one.
    run("os.dup2(0, 4)" + textwrap.dedent(program.format(names=None, words="is no socket")), two, "good:bad")


def test_a_unix_socket_that_was_handed_down_keeps_its_file(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fspath(path))
        sock.listen()
        run("(listener,) = inherited_listeners(); listener.close()", [sock])
        assert path.is_socket()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(path))  # closing a copy has not ended the queue of its owner


def test_one_str_is_not_several_names() -> None:
    for bad in ("http", b"http"):
        with pytest.raises(TypeError, match="names must be several names, such as"):
            inherited_listeners(bad)  # type: ignore[arg-type]


def test_a_process_that_nothing_was_handed_down_to_gets_an_empty_list() -> None:
    assert inherited_listeners() == []
    with pytest.raises(ValueError, match="no socket named 'http' was handed down"):
        inherited_listeners(["http"])


# The same in this process, with descriptors that are out of the way of everybody else's


@pytest.fixture
def handed(two: list[socket.socket], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    for index, sock in enumerate(two):
        os.dup2(sock.fileno(), 200 + index)
    monkeypatch.setattr(systemd, "_FIRST", 200)
    monkeypatch.setattr(systemd, "_remaining", {})
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_FDNAMES", "http")
    yield two
    for index in range(2):
        os.close(200 + index)


def test_listeners_are_borrowed_one_by_one(handed: list[socket.socket]) -> None:
    with pytest.raises(ValueError, match="there are: http, unknown"):
        inherited_listeners(["http", "admin"])
    (unknown,) = inherited_listeners(["unknown"])
    (http,) = inherited_listeners()
    assert [unknown.socket.getsockname(), http.socket.getsockname()] == [
        handed[1].getsockname(),
        handed[0].getsockname(),
    ]
    assert inherited_listeners() == []
    assert "LISTEN_FDS" not in os.environ
    for listener in (unknown, http):
        listener.socket.detach()  # the fixture closes what it opened


def test_a_failure_gives_back_what_was_borrowed(handed: list[socket.socket]) -> None:
    reader, writer = os.pipe()
    os.dup2(reader, 201)
    with pytest.raises(ValueError, match=r"descriptor 201 \(unknown\) was handed down, and is no socket"):
        inherited_listeners()
    with socket.socket(type=socket.SOCK_DGRAM) as dgram:
        os.dup2(dgram.fileno(), 201)
    with pytest.raises(ValueError, match="needs a stream socket"):
        inherited_listeners(["http", "unknown"])
    (http,) = inherited_listeners(["http"])
    assert http.socket.detach() == 200
    os.close(reader)
    os.close(writer)


def test_a_number_of_descriptors_that_is_none_means_no_descriptors(
    handed: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTEN_FDS", "many")
    assert inherited_listeners() == []


@pytest.fixture
def both() -> Iterator[list[socket.socket]]:
    with (
        socket.create_server(("127.0.0.1", 0)) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
    ):
        datagram.bind(("127.0.0.1", 0))
        yield [stream, datagram]


def test_a_unit_may_have_both_kinds_and_each_function_takes_its_own(both: list[socket.socket]) -> None:
    program = """
        (stream,) = inherited_listeners()
        assert inherited_listeners() == []
        (datagram,) = triosock.inherited_datagram_sockets()
        assert triosock.inherited_datagram_sockets() == []
        assert not os.get_inheritable(datagram.fileno())
        show_and_close(stream, datagram)
    """
    assert run(program, both, "tcp:udp") == [port(sock) for sock in both]


def test_by_name_a_socket_of_the_other_kind_is_refused_and_stays(both: list[socket.socket]) -> None:
    program = """
        refused(["udp"], "needs a stream socket, not SOCK_DGRAM")
        words = "is no datagram socket, but SOCK_STREAM"
        refused(["tcp"], words, triosock.inherited_datagram_sockets)
        (datagram,) = triosock.inherited_datagram_sockets(["udp"])
        (stream,) = inherited_listeners(["tcp"])
        show_and_close(stream, datagram)
    """
    assert run(program, both, "tcp:udp") == [port(sock) for sock in both]


def test_without_names_of_their_own_both_kinds_are_named_after_their_unit(both: list[socket.socket]) -> None:
    program = """
        (stream,) = inherited_listeners(["dns.socket"])
        refused(["dns.socket"], "needs a stream socket, not SOCK_DGRAM")
        (datagram,) = triosock.inherited_datagram_sockets(["dns.socket"])
        refused(["dns.socket"], "there are: none")
        show_and_close(stream, datagram)
    """
    assert run(program, both, "dns.socket:dns.socket") == [port(sock) for sock in both]


@pytest.mark.parametrize("workers", [False, True])
def test_an_endpoint_of_the_command_line_or_of_workers_has_one_kind(
    both: list[socket.socket], workers: bool
) -> None:
    program = f"""
        from triosock._core.listeners.systemd import inherited_of_one_kind
        import functools, trio
        serve = functools.partial(triosock.serve_workers, "a:b", ["fd://dns.socket"])
        try:
            trio.run(serve) if {workers} else inherited_of_one_kind("dns.socket")
        except ValueError as error:
            print(*str(error).split())
    """
    words = run(program, both, "dns.socket:dns.socket")
    assert " ".join(words).startswith("'dns.socket' names stream and datagram sockets")


ACTIVATED = """
import os, socket, sys, trio, triosock

async def shout(datagram):
    await datagram.reply(datagram.data.upper())

async def main():
    async with trio.open_nursery() as nursery:
        sockets = triosock.inherited_datagram_sockets()
        server = await nursery.start(triosock.serve_datagram_sockets, shout, sockets)
        ours, client = server.addresses[0].path, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        client.setblocking(False)
        client.bind(ours + ".client")
        client.sendto(b"hello", ours)
        await trio.lowlevel.wait_readable(client)
        print(client.recv(100).decode())
        client.close()
        server.drain()
        await server.wait_closed()
        assert os.path.exists(ours), "the manager's file is the manager's"

trio.run(main)
"""


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is not installed"
)
def test_systemd_hands_a_datagram_socket_down(path: Path) -> None:
    command = ["systemd-socket-activate", "--datagram", "-l", path, sys.executable, "-c", ACTIVATED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as activator:
        try:
            assert eventually(path.exists)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                client.sendto(b"wake up", os.fspath(path))  # from no name: it only starts the program
            out, err = activator.communicate(timeout=60)
        finally:
            activator.kill()
    assert activator.returncode == 0, err
    assert out == "HELLO\n"
