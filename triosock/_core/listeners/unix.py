"""Unix sockets: the file is made with its mode, replaces only a stale one, and is removed only if it is still
the one that was made.

The invariants:

1. **A path is taken over by one process at a time, and only after checking what is there.** A socket file
   without a listener (connect(2) fails with ECONNREFUSED) is stale and replaced; one with a listener is left,
   and an error raised; a file that is no socket is never touched. On close the file is removed before the
   socket is closed, and only if it is the very one that was made (device and inode), so that the file of a
   successor stays. The file of an inherited socket is not removed.
2. **Nothing here waits for another process.** The lock is a file that only the owner of the path can open; if
   it is taken, an error is raised. (A lock on the directory could be held by any user who may read it.)
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
from collections.abc import Iterator
from typing import final

import attrs

from ..model.addresses import MAX_UNIX_PATH
from ..model.checks import is_int
from ..model.errors import AddressUnavailable
from ..model.options import explained
from .listener import SocketListener, check_backlog

if sys.platform != "win32":
    import fcntl


@final
@attrs.frozen
class SocketFile:
    """The file of a Unix socket, as the process that owns it knows it."""

    path: str
    device: int
    inode: int
    owner: int = attrs.field(factory=os.getpid, kw_only=True)

    def remove(self) -> None:
        """Remove the file if it is still the one that was made. Called while the socket is still open, so
        that no other process takes the file for a stale one.

        Does nothing in a forked child: the process that made the file may still use it.
        """
        if self.owner != os.getpid():
            return
        try:
            status = os.lstat(self.path)
            if (status.st_dev, status.st_ino) == (self.device, self.inode):
                os.unlink(self.path)
        except OSError:
            pass  # the file or its directory is gone already


@final
class UnixListener(SocketListener):
    """A listening Unix socket, with its file if it has one that this process owns."""

    def __init__(self, sock: socket.socket, file: SocketFile | None) -> None:
        super().__init__(sock)
        #: None without a file, and when another process owns it.
        self._file = file

    def close(self) -> None:
        """Close, and remove the file if it is still the one that was made; a forked child only closes its
        descriptor.
        """
        if self.is_closed:
            return
        try:
            if self._file is not None:
                self._file.remove()
        finally:
            super().close()


def check_path(path: object) -> str:
    """Return the path as a str. Raises: TypeError, or ValueError for one that is empty, too long, or has a
    zero byte inside.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"path must be a str, bytes or os.PathLike, not {path!r}")
    text = os.fsdecode(path)
    raw = os.fsencode(text)
    if not raw:
        raise ValueError("path must not be empty")
    if b"\0" in raw[1:] or (raw[0] == 0 and sys.platform != "linux"):
        raise ValueError(
            f"path must not contain a zero byte, except to begin an abstract name (Linux): {path!r}"
        )
    if len(raw) > MAX_UNIX_PATH:
        raise ValueError(
            f"path has {len(raw)} bytes, more than the {MAX_UNIX_PATH} that a Unix socket's may have "
            f"(unix(7)); use a shorter one, or one relative to the working directory: {text!r}"
        )
    return text


def check_mode(mode: object) -> int | None:
    """Return `mode` if it is None or permission bits; TypeError or ValueError otherwise."""
    if mode is None:
        return None
    if not is_int(mode):
        raise TypeError(f"mode must be permission bits such as 0o600, or None, not {mode!r}")
    if not 0 <= mode <= 0o777:
        raise ValueError(f"mode must be from 0 to 0o777, not {mode:#o}")
    return mode


@explained
def open_unix_listener(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    mode: int | None = None,
    backlog: int | None = None,
) -> UnixListener:
    """Listen on a Unix stream socket.

    Args:
      path: of the socket file; on Linux one that begins with a zero byte is a name without a file (unix(7)).
      mode: permissions of the file, set before a client can connect; None leaves them to the umask.
      backlog: how many may wait in the kernel's queue, from 1 on; None is as many as it allows.

    Returns: the listener. Closing it removes the file, if it is still the one that was made here.

    Raises: TypeError, ValueError; AddressUnavailable if a process listens at the path, something other than a
    socket is there, or the system refuses.
    """
    length = check_backlog(backlog)
    return UnixListener(*bind_unix(path, socket.SOCK_STREAM, mode, length))


def bind_unix(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    kind: socket.SocketKind,
    mode: int | None,
    backlog: int | None = None,
) -> tuple[socket.socket, SocketFile | None]:
    """Return a bound socket of this kind, and its file if it has one. It listens if there is a `backlog`."""
    text = check_path(path)
    check_mode(mode)
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        if text.startswith("\0"):
            _bind_name(sock, text, backlog)
            return sock, None
        # Absolute, so that after a later chdir no other file is removed.
        absolute = os.path.abspath(text)
        with _sole_opener(absolute):
            _remove_stale_file(text, kind)
            status = _make_file(sock, text, mode, backlog)
        return sock, SocketFile(absolute, status.st_dev, status.st_ino)
    except BaseException:
        sock.close()
        raise


def _make_file(sock: socket.socket, text: str, mode: int | None, backlog: int | None) -> os.stat_result:
    # It begins to listen within the lock: a socket that is bound and does not listen yet refuses connections,
    # and would be taken for a stale one.
    made = False
    try:
        if mode is not None and sys.platform == "linux":
            # Linux gives the file the mode of the socket, less the umask: a datagram socket can be written to
            # as soon as it is bound, so even then the file must not be more open than asked for.
            os.fchmod(sock.fileno(), mode)
        sock.bind(text)
        made = True
        if mode is not None:
            os.chmod(
                text, mode
            )  # restores bits that the umask removed; no client can connect before listen()
        if backlog is not None:
            sock.listen(backlog)
        return os.stat(text)
    except OSError as error:
        if made:
            os.unlink(text)
        raise _explain(error, text) from error


def _bind_name(sock: socket.socket, text: str, backlog: int | None) -> None:
    try:
        sock.bind(text)
        if backlog is not None:
            sock.listen(backlog)
    except OSError as error:
        raise _explain(error, text) from error


def _explain(error: OSError, text: str) -> AddressUnavailable:
    return AddressUnavailable(error.errno, f"cannot listen on unix path {text!r}: {error.strerror}")


def _remove_stale_file(text: str, kind: socket.SocketKind) -> None:
    """Remove a stale socket file; raise AddressUnavailable if anything else is there."""
    try:
        status = os.lstat(text)
    except OSError:
        return  # nothing there, or bind() will say what is wrong
    if not stat.S_ISSOCK(status.st_mode):
        raise AddressUnavailable(
            errno.EEXIST,
            f"cannot listen on unix path {text!r}: a file that is no socket is there; "
            "remove it or take another path",
        )
    if _is_alive(text, kind):
        raise AddressUnavailable(
            errno.EADDRINUSE,
            f"cannot listen on unix path {text!r}: another program listens there; "
            "stop it or take another path",
        )
    try:
        os.unlink(text)
    except OSError as error:
        raise _explain(error, text) from error


def _is_alive(text: str, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(text)
        except ConnectionRefusedError:
            return False
        except FileNotFoundError:
            return False
        except OSError:
            # EAGAIN: its queue is full; EPROTOTYPE: a socket of another kind; EACCES: not allowed to know.
            # None is certainly stale.
            return True
    return True


@contextlib.contextmanager
def _sole_opener(path: str) -> Iterator[None]:
    """Keep other processes from taking `path` over during the block, a few system calls long.

    Raises: AddressUnavailable if another process is in its own block. A user who may not write to the
    directory can neither take nor hold the lock. If a file of another user stands in its place, in a
    directory such as /tmp, there is no lock, and two servers that take over one stale path in the same
    instant may both succeed.
    """
    folder, name = os.path.split(path)
    lock = os.path.join(folder, f".{name}.lock")
    descriptor = _own_lock_file(lock)
    if descriptor is None:
        yield
        return
    try:
        if not _take(descriptor, lock):
            raise AddressUnavailable(
                errno.EADDRINUSE,
                f"cannot listen on unix path {path!r}: another process is opening a socket there now",
            )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.unlink(lock)
    finally:
        os.close(descriptor)


def _take(descriptor: int, lock: str) -> bool:
    """Take the lock, unless another process has it, or has removed its file since it was opened here."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), os.lstat(lock))
    except (BlockingIOError, FileNotFoundError):
        return False


def _own_lock_file(lock: str) -> int | None:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(lock, flags, 0o600)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
        return descriptor
    os.close(descriptor)
    return None
