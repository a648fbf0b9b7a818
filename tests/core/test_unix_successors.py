"""Who owns a path after whom: of several who want it exactly one gets it, and none removes another's file."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from tests.listening import close_in_a_child, connects, denied, leave_stale
from triosock._core.listeners import unix
from triosock._core.listeners.unix import open_unix_listener
from triosock._core.model.errors import AddressUnavailable

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.usefixtures("no_leaks")


def test_one_that_is_still_opening_is_never_taken_for_dead(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Bound and not listening yet, it answers nobody. Whoever comes in this moment is refused, without a wait.
    refused = []

    class Watched(socket.socket):
        def listen(self, *backlog: Any) -> None:
            monkeypatch.undo()
            with pytest.raises(AddressUnavailable, match="another process is opening a socket there now"):
                open_unix_listener(path)
            refused.append(True)
            super().listen(*backlog)

    monkeypatch.setattr(unix.socket, "socket", Watched)
    with closing(open_unix_listener(path)):
        assert refused == [True]
        assert connects(path)
    assert list(path.parent.iterdir()) == []


def test_nobody_who_may_only_read_can_hold_up_a_server(path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        open_unix_listener(path).close()  # would stand still for ever
    finally:
        os.close(directory)
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
@pytest.mark.parametrize("kind", ["file", "fifo", "link"])
def test_what_somebody_else_put_in_the_place_of_the_lock_is_no_lock(path: Path, kind: str) -> None:
    lock = path.parent / f".{path.name}.lock"
    if kind == "fifo":
        os.mkfifo(lock)
    elif kind == "link":
        lock.symlink_to(path.parent / "elsewhere")
    else:
        lock.touch()
        os.chown(lock, 65534, 65534)
    leave_stale(path)
    with closing(open_unix_listener(path)):
        assert connects(path)
    assert lock.exists() or lock.is_symlink()
    assert not (path.parent / "elsewhere").exists()


def test_a_lock_that_was_given_back_meanwhile_is_no_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Opened by this process while another one had it, which has removed it since.
    real = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        open_unix_listener(path).close()
        real(descriptor, operation)

    monkeypatch.setattr(unix.fcntl, "flock", late)
    with pytest.raises(AddressUnavailable, match="another process is opening a socket there now"):
        open_unix_listener(path)


RACER = """
import sys
from triosock import AddressUnavailable, open_unix_listener
print("ready", flush=True)
sys.stdin.readline()
try:
    listener = open_unix_listener(sys.argv[1])
except AddressUnavailable:
    print("lost", flush=True)
else:
    print("won", flush=True)
    sys.stdin.readline()
    listener.close()
"""


def test_of_processes_that_race_for_one_stale_path_exactly_one_wins(path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for _ in range(4)
    ]
    try:
        assert [line_of(racer) for racer in racers] == ["ready"] * 4
        leave_stale(path)
        for racer in racers:
            tell(racer)
        assert sorted(line_of(racer) for racer in racers) == ["lost"] * 3 + ["won"]
        assert connects(path)
        for racer in racers:
            racer.communicate("\n", timeout=60)
        assert not path.exists()
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


def line_of(racer: subprocess.Popen[str]) -> str:
    assert racer.stdout is not None
    return racer.stdout.readline().strip()


def tell(racer: subprocess.Popen[str]) -> None:
    assert racer.stdin is not None
    racer.stdin.write("\n")
    racer.stdin.flush()


def test_a_successor_keeps_the_file_that_took_the_place_of_ours(path: Path) -> None:
    ours = open_unix_listener(path)
    path.unlink()
    theirs = open_unix_listener(path)
    ours.close()
    assert connects(path)
    theirs.close()
    assert not path.exists()


def test_a_file_that_is_gone_already_is_no_error(path: Path, tmp_path: Path) -> None:
    listener = open_unix_listener(path)
    path.unlink()
    listener.close()
    (tmp_path / "gone").mkdir()
    listener = open_unix_listener(tmp_path / "gone" / "socket")
    (tmp_path / "gone" / "socket").unlink()
    (tmp_path / "gone").rmdir()
    listener.close()
    assert listener.is_closed


def test_a_process_that_was_forked_off_leaves_the_file_to_who_made_it(path: Path) -> None:
    listener = open_unix_listener(path)
    close_in_a_child(listener)
    assert connects(path)
    listener.close()
    assert not path.exists()


def test_a_failure_behind_bind_leaves_neither_file_nor_socket(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix.os, "chmod", Mock(side_effect=denied(errno.EPERM)))
    with pytest.raises(AddressUnavailable, match=os.strerror(errno.EPERM)):
        open_unix_listener(path, mode=0o600)
    monkeypatch.undo()
    assert not path.exists()


def test_a_directory_that_cannot_be_locked_is_no_hindrance(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix.os, "open", Mock(side_effect=denied(errno.EACCES)))
    with closing(open_unix_listener(path)):
        assert connects(path)
    monkeypatch.undo()
    assert not path.exists()
