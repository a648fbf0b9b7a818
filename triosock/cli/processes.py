"""Looking at a process by its number: the side of the one who looks.

Two ways, each with what the system asks of who attaches (ptrace(2)): SIGUSR1, if the process has allowed it
(`observe/looked_at.py`), and `sys.remote_exec`, if both have the same Python, 3.14 or later.

The invariants:

1. **A signal goes only to a process that catches it**: the default of SIGUSR1 would end it. The mark of one
   that allows it and its mask are read through a descriptor of the process, so that a number that is given
   to another one meanwhile is no danger.
2. **Nothing is left**: the directory with the question and the answer goes with each look, and a script that
   was not run in time is replaced by an empty one.
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
from ..observe.looked_at import MARK
from ..observe.text import printable
from .arguments import MachineRefused

#: Seconds that an answer may take, and after which a process that waits is woken.
PATIENCE: Final = 5.0
WAKE_AFTER: Final = 0.02
#: The longest answer.
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


class ProcessEnded(MachineRefused):
    """There is no such process, or no longer."""


@final
@attrs.frozen
class Seen:
    """A tree, and how many seconds it held up the process, by the clock and of its processor's time."""

    tree: Node
    paused: float
    cpu: float


async def look_at(pid: int, limit: int) -> Seen:
    """Return what lives in a process now. Raises: MachineRefused, with what to do."""
    with _directory(pid) as (directory, there):
        pipe = directory / peek.PIPE
        os.mkfifo(pipe, 0o600)
        _give(pipe, pid)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            async with _asked(pid, directory, there, limit) as how:
                with trio.move_on_after(PATIENCE):
                    await trio.lowlevel.wait_readable(reader)
            took = _read_some(reader).split()
        finally:
            os.close(reader)
        if len(took) != 2:
            raise MachineRefused(
                f"process {pid} has not answered {how} within {PATIENCE:g} s: its main thread is in a call "
                "that nothing interrupts, or it is stopped"
            )
        return Seen(_read_tree(directory / peek.ANSWER), float(took[0]), float(took[1]))


def _read_some(reader: int) -> bytes:
    try:
        return os.read(reader, 100)
    except BlockingIOError:
        return b""


@contextlib.contextmanager
def _directory(pid: int) -> Iterator[tuple[Path, str]]:
    """Make a directory; give its path, and its path in the process, which may be in a container."""
    root = Path("/")
    with contextlib.suppress(OSError):  # who may not read the link may not attach, either: that is told later
        if os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"):
            root = Path(f"/proc/{pid}/root")
    parent = tempfile.gettempdir() if root == Path("/") else f"{root}/tmp"
    try:
        path = Path(tempfile.mkdtemp(prefix="triosock-top-", dir=parent))  # mode 0700
    except OSError as error:
        raise MachineRefused(f"cannot make a directory in {parent}: {error.strerror or error}") from None
    try:
        _give(path, pid)
        yield path, str(Path("/") / path.relative_to(root))
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _give(path: Path, pid: int) -> None:
    """Root looks at others' processes, too: the file is then theirs."""
    if os.geteuid() == 0:
        owner = _stat(pid)
        os.chown(path, owner.st_uid, owner.st_gid)


def _stat(pid: int) -> os.stat_result:
    try:
        return os.stat(f"/proc/{pid}")
    except FileNotFoundError:
        raise ProcessEnded(f"there is no process {pid}") from None


def _read_tree(path: Path) -> Node:
    """Return the tree; what a process writes may be anything."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(MAX_ANSWER)
        fields = ast.literal_eval(text)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise MachineRefused(f"the answer is no tree: {printable(error)}") from None
    if isinstance(fields, dict) and "error" in fields:
        raise MachineRefused(f"the process could not be looked at: {printable(fields['error'])}")
    try:
        return node_of(fields)
    except ValueError as error:
        raise MachineRefused(str(error)) from None


@asynccontextmanager
async def _asked(pid: int, directory: Path, there: str, limit: int) -> AsyncIterator[str]:
    """Ask, and wake the process if it sleeps; on the way out take back what was not answered."""
    mark = _mark_of(pid)
    if mark is not None:
        _signal(pid, mark, f"{limit} {there}")
        yield "SIGUSR1"
        return
    if there != str(directory):
        raise MachineRefused(
            f"process {pid} has another root than this one, as in a container: there it has to allow to be "
            "looked at (triosock.run, or observe.allow_top)"
        )
    _execute(pid, _script(directory, limit, pid))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_wake_later, pid)
        try:
            yield "sys.remote_exec"
        finally:
            nursery.cancel_scope.cancel()
            if not (directory / peek.ANSWER).exists():
                with contextlib.suppress(MachineRefused):
                    _execute(pid, os.devnull)


# By a signal


def _mark_of(pid: int) -> str | None:
    """Return the path of the process's mark, if it has one and catches the signal."""
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                if os.readlink(f"{folder}/{name}") == f"/memfd:{MARK} (deleted)" and _catches(pid):
                    return f"{folder}/{name}"
    except FileNotFoundError:
        raise ProcessEnded(f"there is no process {pid}") from None
    except PermissionError:
        raise MachineRefused(f"process {pid} is another user's: only that one, and root, may look") from None
    return None


def _catches(pid: int) -> bool:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        caught = next(int(line.split()[1], 16) for line in file if line.startswith("SigCgt:"))
    return bool(caught >> (signal.SIGUSR1 - 1) & 1)


def _signal(pid: int, mark: str, request: str) -> None:
    try:
        process = os.pidfd_open(pid)
        try:
            # Looked up again: now that there is a descriptor, it is sure to be this process.
            if _mark_of(pid) != mark:
                raise MachineRefused(f"process {pid} has just ended, or no longer allows to be looked at")
            with open(mark, "wb", buffering=0) as file:
                file.write(os.fsencode(request))
            signal.pidfd_send_signal(process, signal.SIGUSR1)
        finally:
            os.close(process)
    except OSError as error:
        raise MachineRefused(f"cannot look at process {pid}: {error.strerror or error}") from None


# By the interpreter


def _script(directory: Path, limit: int, pid: int) -> str:
    """Write the script, and what it runs; return its path."""
    source = Path(peek.__file__).read_bytes()
    (directory / "code").write_bytes(marshal.dumps(compile(source, "<triosock top>", "exec")))
    text = _SCRIPT.format(code=f"{directory}/code", directory=str(directory), limit=limit)
    (directory / "script.py").write_text(text)
    for name in ("code", "script.py"):
        _give(directory / name, pid)
    return f"{directory}/script.py"


def _execute(pid: int, script: str) -> None:
    remote_exec = getattr(sys, "remote_exec", None)
    if remote_exec is None:
        raise MachineRefused(
            f"process {pid} has not allowed to be looked at (triosock.run, or observe.allow_top), and "
            "without that it takes Python 3.14 on both sides"
        )
    try:
        remote_exec(pid, script)
    except PermissionError:
        raise MachineRefused(
            f"not permitted to attach to process {pid}: it takes the same user and what "
            "/proc/sys/kernel/yama/ptrace_scope allows, or CAP_SYS_PTRACE"
        ) from None
    except ProcessLookupError:
        raise ProcessEnded(f"there is no process {pid}") from None
    except (OSError, RuntimeError) as error:
        raise MachineRefused(
            f"cannot run anything in process {pid}: {printable(error)} (it must have the Python that "
            f"this one has, {sys.version_info.major}.{sys.version_info.minor}, and allow remote debugging)"
        ) from None


async def _wake_later(pid: int) -> None:
    """A run loop that sleeps in epoll_wait executes no instruction. Who attaches ends that wait."""
    await trio.sleep(WAKE_AFTER)
    await trio.to_thread.run_sync(_wake, pid, abandon_on_cancel=True)


def _wake(pid: int) -> None:
    """Interrupt the call that the main thread is in (epoll_wait(2) then ends with EINTR), and leave again.
    That fails while a debugger is there; then nothing is lost but time.
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
