"""The invariant of the file: it appears with its mode, replaces only what is dead, and goes only if it is
still ours.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import trio

from tests.listening import connects, denied, leave_stale
from triosock._core.listeners import unix
from triosock._core.listeners.unix import bind_unix, open_unix_listener
from triosock._core.model.addresses import MAX_UNIX_PATH, UnixAddress
from triosock._core.model.errors import AddressUnavailable

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# Appearing


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
async def test_a_listener_listens_at_its_path_and_takes_the_file_with_it(path: Path, kind: Any) -> None:
    listener = open_unix_listener(kind(path))
    assert listener.address == UnixAddress(path)
    async with await trio.open_unix_socket(path) as client, await listener.accept() as server:
        await client.send_all(b"hello")
        assert await server.receive_some() == b"hello"
    listener.close()
    listener.close()
    assert not path.exists()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o000, 0o600, 0o660, 0o666, 0o777])
def test_the_file_has_exactly_the_mode_that_was_asked_for(
    path: Path, umask: Callable[[int], int], mask: int, mode: int
) -> None:
    umask(mask)
    with closing(open_unix_listener(path, mode=mode)):
        assert mode_of(path) == mode


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_without_a_mode_the_umask_decides(path: Path, umask: Callable[[int], int], mask: int) -> None:
    umask(mask)
    with closing(open_unix_listener(path)):
        assert mode_of(path) == 0o777 & ~mask


class Watch:
    """A socket.socket class that notes the mode of the file at each step of its making."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        steps: list[tuple[str, int]] = []
        self.steps = steps

        class Watched(socket.socket):
            def bind(self, address: Any) -> None:
                super().bind(address)
                steps.append(("bound", mode_of(path)))

            def listen(self, *backlog: Any) -> None:
                steps.append(("about to listen", mode_of(path)))
                super().listen(*backlog)

        monkeypatch.setattr(unix.socket, "socket", Watched)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere fchmod on a socket says nothing of its file")
def test_the_mode_is_set_before_anybody_can_connect_and_is_never_wider(
    path: Path, umask: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    umask(0o000)
    watch = Watch(monkeypatch, path)
    open_unix_listener(path, mode=0o600).close()
    assert watch.steps == [("bound", 0o600), ("about to listen", 0o600)]
    watch.steps.clear()
    umask(0o077)
    open_unix_listener(path, mode=0o666).close()
    assert watch.steps == [("bound", 0o600), ("about to listen", 0o666)]


async def test_a_path_may_be_relative_and_is_removed_even_after_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    listener = open_unix_listener("socket")
    os.chdir("elsewhere")
    listener.close()
    assert not (tmp_path / "socket").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names")
def test_an_abstract_name_is_no_file() -> None:
    name = f"\0triosock-test-{os.getpid()}"
    with closing(open_unix_listener(name, mode=0o600)) as listener:
        assert listener.address == UnixAddress(name)
        assert connects(name)
        with pytest.raises(AddressUnavailable, match="cannot listen on unix path") as caught:
            open_unix_listener(name)
        assert caught.value.errno == errno.EADDRINUSE
    assert not connects(name)


# Replacing


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_stale_file_is_replaced(path: Path, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_UNIX, kind) as dead:
        dead.bind(os.fspath(path))
    with closing(open_unix_listener(path)):
        assert connects(path)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_somebody_who_listens_is_left_alone(path: Path, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_UNIX, kind) as living:
        living.bind(os.fspath(path))
        if kind == socket.SOCK_STREAM:
            living.listen()
        before = path.stat().st_ino
        with pytest.raises(AddressUnavailable, match="another program listens there; stop it") as caught:
            open_unix_listener(path)
        assert caught.value.errno == errno.EADDRINUSE
        assert path.stat().st_ino == before


def test_somebody_whose_queue_is_full_is_no_less_alive(path: Path) -> None:
    with closing(open_unix_listener(path, backlog=1)), ExitStack() as stack:
        clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
        for client in clients:
            client.setblocking(False)
        assert errno.EAGAIN in [client.connect_ex(os.fspath(path)) for client in clients]
        with pytest.raises(AddressUnavailable, match="another program listens there"):
            open_unix_listener(path)


def test_what_is_no_socket_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    leave_stale(tmp_path / "stale")
    (tmp_path / "link to stale").symlink_to("stale")
    before = {one.name: one.lstat().st_ino for one in tmp_path.iterdir()}
    for name in before.keys() - {"stale"}:
        with pytest.raises(AddressUnavailable, match="a file that is no socket is there") as caught:
            open_unix_listener(tmp_path / name)
        assert caught.value.errno == errno.EEXIST
    assert {one.name: one.lstat().st_ino for one in tmp_path.iterdir()} == before
    assert (tmp_path / "file").read_text() == "precious"


def test_a_stale_file_that_may_not_be_removed_is_unavailable(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_stale(path)
    monkeypatch.setattr(unix.os, "unlink", Mock(side_effect=denied(errno.EPERM)))
    with pytest.raises(AddressUnavailable, match=f"{re.escape(repr(str(path)))}: {os.strerror(errno.EPERM)}"):
        open_unix_listener(path)
    monkeypatch.undo()


def test_a_file_that_goes_while_it_is_looked_at_is_dead(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unix._is_alive(os.fspath(path), socket.SOCK_STREAM) is False


# Bad input


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((5,), {}, TypeError, "path must be a str, bytes or os.PathLike, not 5"),
        ((None,), {}, TypeError, "path must be a str"),
        (("",), {}, ValueError, "path must not be empty"),
        ((b"",), {}, ValueError, "path must not be empty"),
        (("a\0b",), {}, ValueError, "path must not contain a zero byte"),
        (("\0a\0b",), {}, ValueError, "path must not contain a zero byte"),
        (("x",), {"mode": "600"}, TypeError, "mode must be permission bits such as 0o600"),
        (("x",), {"mode": True}, TypeError, "mode must be permission bits"),
        (("x",), {"mode": 0o1777}, ValueError, "mode must be from 0 to 0o777, not 0o1777"),
        (("x",), {"mode": -1}, ValueError, "mode must be from 0 to 0o777"),
        (("x",), {"backlog": 0}, ValueError, "backlog must be from 1 on"),
    ],
)
def test_a_bad_argument_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any, options: Any, error: Any, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=re.escape(words)):
        open_unix_listener(*arguments, **options)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_path_is_possible_and_one_byte_more_is_refused_with_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    longest = "x" * MAX_UNIX_PATH
    with closing(open_unix_listener(longest)):
        assert connects(longest)
    for too_long in ("x" * (MAX_UNIX_PATH + 1), "é" * (MAX_UNIX_PATH // 2 + 1)):
        length = len(os.fsencode(too_long))
        with pytest.raises(ValueError, match=f"path has {length} bytes, more than the {MAX_UNIX_PATH}"):
            open_unix_listener(too_long)


def test_a_directory_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(AddressUnavailable, match="No such file or directory") as caught:
        open_unix_listener(tmp_path / "nowhere" / "socket")
    assert caught.value.errno == errno.ENOENT


def test_a_datagram_socket_is_bound_with_its_mode_and_does_not_listen(path: Path) -> None:
    sock, file = bind_unix(path, socket.SOCK_DGRAM, 0o600)
    with sock, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        assert mode_of(path) == 0o600
        assert file is not None
        assert file.path == os.fspath(path)
        client.sendto(b"hello", os.fspath(path))
        assert sock.recv(10) == b"hello"
        file.remove()
    assert not path.exists()
