"""Inspects a process by its pid: the part that runs in `triosock top`.

There are two methods: SIGUSR1, if the process has allowed it (`observe/inspection.py`), and
`sys.remote_exec`, if both processes have the same Python, 3.14 or later. Both need the permission to attach
(ptrace(2)).

The invariants:

1. **A signal is sent only to a process that catches it**: the default of SIGUSR1 would end it. The mark of a
   process that allows it and its signal mask are read while a pidfd is open, so that the signal cannot reach
   another process with a reused pid.
2. **Nothing is left**: the directory with the request and the answer is removed after each inspection, and a
   script that was not run in time is replaced by an empty one.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import marshal
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, final

import attrs
import trio

from ..observe import Node, peek
from ..observe.control import node_of
from ..observe.inspection import MARK
from ..observe.text import printable
from .arguments import OperatingSystemError

#: Seconds within which a process must answer, and seconds after which a process that waits is woken.
ANSWER_TIMEOUT: Final = 5.0
WAKE_AFTER: Final = 0.02
#: The maximum of bytes in an answer.
MAX_ANSWER: Final = 64 * 2**20

_SCRIPT: Final = """\
f = open({code!r}, "rb")
try:
    c = __import__("marshal").load(f)
finally:
    f.close()
n = {{"__name__": "triosock peek", "__builtins__": __builtins__}}
exec(c, n)
n["answer"]({directory!r}, {limit})
n.clear()
"""
#: ptrace(2).
_SEIZE, _INTERRUPT, _DETACH, _WALL = 0x4206, 0x4207, 17, 0x40000000


class ProcessEnded(OperatingSystemError):
    """The process does not exist, or has ended."""


@final
@attrs.frozen
class Inspection:
    """A tree, and the seconds for which the inspection paused the process: real time, and processor time."""

    tree: Node
    paused: float
    cpu: float


async def inspect_process(pid: int, limit: int) -> Inspection:
    """Return the live tree of a process, with at most `limit` connections of each server. Raises:
    OperatingSystemError.
    """
    with _directory(pid) as (directory, there):
        pipe = directory / peek.PIPE
        os.mkfifo(pipe, 0o600)
        _give_to_owner(pipe, pid)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            answer = bytearray()
            async with _requested(pid, directory, there, limit) as how:
                with trio.move_on_after(ANSWER_TIMEOUT):
                    await _read_to_end(reader, answer)
            took = answer.split()
        finally:
            os.close(reader)
        if len(took) != 2:
            _stat(pid)  # raises ProcessEnded if that is the reason
            raise OperatingSystemError(
                f"process {pid} has not answered {how} within {ANSWER_TIMEOUT:g} s: its main thread is in a "
                "call that nothing interrupts, or it is stopped"
            )
        return Inspection(_read_tree(directory / peek.ANSWER), float(took[0]), float(took[1]))


async def _read_to_end(reader: int, answer: bytearray) -> None:
    """Read until the process has closed its end: then nothing of the inspection is left in it. A pipe that is
    not opened for writing yet is not readable.
    """
    while True:
        await trio.lowlevel.wait_readable(reader)
        with contextlib.suppress(BlockingIOError):
            data = os.read(reader, 100)
            if not data:
                return
            answer += data


@contextlib.contextmanager
def _directory(pid: int) -> Iterator[tuple[Path, str]]:
    """Make a directory; yield its path, and its path in the process, which may be in a container."""
    root = Path("/")
    with contextlib.suppress(OSError):  # if this is not permitted, attaching fails below
        if os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"):
            root = Path(f"/proc/{pid}/root")
    parent = tempfile.gettempdir() if root == Path("/") else f"{root}/tmp"
    try:
        path = Path(tempfile.mkdtemp(prefix="triosock-top-", dir=parent))  # mode 0700
    except OSError as error:
        raise OperatingSystemError(
            f"cannot make a directory in {parent}: {error.strerror or error}"
        ) from None
    try:
        _give_to_owner(path, pid)
        yield path, str(Path("/") / path.relative_to(root))
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _give_to_owner(path: Path, pid: int) -> None:
    """Give a file to the process's user, if this process is root's."""
    if os.geteuid() == 0:
        owner = _stat(pid)
        os.chown(path, owner.st_uid, owner.st_gid)


def _stat(pid: int) -> os.stat_result:
    try:
        return os.stat(f"/proc/{pid}")
    except FileNotFoundError:
        raise ProcessEnded(f"there is no process {pid}") from None


def _read_tree(path: Path) -> Node:
    """Return the tree in a file, which may contain anything."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(MAX_ANSWER)
        fields = ast.literal_eval(text)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise OperatingSystemError(f"the answer is no tree: {printable(error)}") from None
    if isinstance(fields, dict) and "error" in fields:
        raise OperatingSystemError(f"the process could not be inspected: {printable(fields['error'])}")
    try:
        return node_of(fields)
    except ValueError as error:
        raise OperatingSystemError(str(error)) from None


@asynccontextmanager
async def _requested(pid: int, directory: Path, there: str, limit: int) -> AsyncIterator[str]:
    """Send the request, and wake the process if it waits; at the end, withdraw the request if it is
    unanswered. Yield the name of the method.
    """
    mark = _mark_of(pid)
    if mark is not None:
        _signal(pid, mark, f"{limit} {there}")
        yield "SIGUSR1"
        return
    if there != str(directory):
        raise OperatingSystemError(
            f"process {pid} has another root directory, as in a container: it must allow inspection "
            "(triosock.run, or observe.allow_top)"
        )
    _execute(pid, _script(directory, limit, pid))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_wake_later, pid)
        try:
            yield "sys.remote_exec"
        finally:
            nursery.cancel_scope.cancel()
            if not (directory / peek.ANSWER).exists():
                with contextlib.suppress(OperatingSystemError):
                    _execute(pid, os.devnull)


# By a signal


def _mark_of(pid: int) -> str | None:
    """Return the path of the descriptor that marks a process which allows inspection; None if it has none, or
    does not catch the signal.
    """
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                if os.readlink(f"{folder}/{name}") == f"/memfd:{MARK} (deleted)" and _catches(pid):
                    return f"{folder}/{name}"
    except FileNotFoundError:
        raise ProcessEnded(f"there is no process {pid}") from None
    except PermissionError:
        raise OperatingSystemError(
            f"process {pid} belongs to another user: only that user and root may inspect it"
        ) from None
    return None


def _catches(pid: int) -> bool:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        caught = next(int(line.split()[1], 16) for line in file if line.startswith("SigCgt:"))
    return bool(caught >> (signal.SIGUSR1 - 1) & 1)


def _signal(pid: int, mark: str, request: str) -> None:
    try:
        process = os.pidfd_open(pid)
        try:
            # Looked up again with the pidfd open, so that it is the mark of this process.
            if _mark_of(pid) != mark:
                raise OperatingSystemError(f"process {pid} has just ended, or no longer allows inspection")
            with open(mark, "wb", buffering=0) as file:
                file.write(os.fsencode(request))
            signal.pidfd_send_signal(process, signal.SIGUSR1)
        finally:
            os.close(process)
    except OSError as error:
        raise OperatingSystemError(f"cannot inspect process {pid}: {error.strerror or error}") from None


# By the interpreter


def _script(directory: Path, limit: int, pid: int) -> str:
    """Write the script, and the code that it loads; return the path of the script."""
    source = Path(peek.__file__).read_bytes()
    (directory / "code").write_bytes(marshal.dumps(compile(source, "<triosock top>", "exec")))
    text = _SCRIPT.format(code=f"{directory}/code", directory=str(directory), limit=limit)
    (directory / "script.py").write_text(text)
    for name in ("code", "script.py"):
        _give_to_owner(directory / name, pid)
    return f"{directory}/script.py"


def _execute(pid: int, script: str) -> None:
    remote_exec = getattr(sys, "remote_exec", None)
    if remote_exec is None:
        raise OperatingSystemError(
            f"process {pid} does not allow inspection (triosock.run, or observe.allow_top), and "
            "without that Python 3.14 is needed on both sides"
        )
    try:
        remote_exec(pid, script)
    except PermissionError:
        raise OperatingSystemError(
            f"not permitted to attach to process {pid}: this needs the same user, as far as "
            "/proc/sys/kernel/yama/ptrace_scope allows, or CAP_SYS_PTRACE"
        ) from None
    except ProcessLookupError:
        raise ProcessEnded(f"there is no process {pid}") from None
    except (OSError, RuntimeError) as error:
        raise OperatingSystemError(
            f"cannot run code in process {pid}: {printable(error)} (it must have the same Python, "
            f"{sys.version_info.major}.{sys.version_info.minor}, and allow remote debugging)"
        ) from None


async def _wake_later(pid: int) -> None:
    """Attach after `WAKE_AFTER` seconds: a run loop in epoll_wait(2) runs no Python code, and attaching ends
    that wait.
    """
    await trio.sleep(WAKE_AFTER)
    await trio.to_thread.run_sync(_wake, pid, abandon_on_cancel=True)


def _wake(pid: int) -> None:
    """Interrupt the main thread's system call (epoll_wait(2) then ends with EINTR), and detach. This fails
    while a debugger is attached, which only delays the answer.
    """
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if ptrace(_SEIZE, pid, None, None) != 0:
        return
    try:
        if ptrace(_INTERRUPT, pid, None, None) == 0:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, _WALL)
    finally:
        ptrace(_DETACH, pid, None, None)
