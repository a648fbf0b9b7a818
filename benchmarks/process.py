"""Starting servers and the load generator, and seeing to it that nothing of them is left.

Rules of this file:

1. Whatever is started is killed and reaped when its `with` block ends, in whatever way, children that it
   forked included: each process leads a group of its own, and the group is what is killed.
2. If this process is killed itself, the kernel kills those (leash.py); children of a forking server
   then end with their clients.
3. Every wait has a limit of its own, and what a process said on stderr goes into the error.
4. Server and load never compete for a processor, if there are two: the load has the last one to itself.
5. All servers run from bytecode, as installed packages do: what is compiled at the start leaves a larger
   process, and a fork pays for each of its pages.
"""

from __future__ import annotations

import compileall
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN = 20.0
LEASH = str(Path(__file__).with_name("leash.py"))


class RunFailed(Exception):
    """A server or a load did not do what it should; the text has its last words."""


def processors() -> tuple[set[int], set[int]]:
    """Those of the servers and those of the load: disjoint if there are at least two."""
    *rest, last = sorted(os.sched_getaffinity(0))
    return (set(rest), {last}) if rest else ({last}, {last})


class Process:
    """One child. Use it as made by `started`."""

    def __init__(
        self, module: str, arguments: Sequence[str], cpus: set[int], stderr: IO[bytes], stdin: int
    ) -> None:
        self.name = " ".join([module, *arguments])[:200]
        self.stderr = stderr
        leash = (LEASH, str(os.getpid()), ",".join(map(str, sorted(cpus))))
        self.popen = subprocess.Popen(
            [sys.executable, "-I", "-S", *leash, sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
        self.unread = b""

    @property
    def pid(self) -> int:
        return self.popen.pid

    def line(self, within: float) -> str:
        """The next line of its output; RunFailed if it ends or `within` seconds are over first."""
        assert self.popen.stdout is not None
        fd, deadline = self.popen.stdout.fileno(), monotonic() + within
        while b"\n" not in self.unread:
            readable, _, _ = select.select([fd], [], [], max(0.0, deadline - monotonic()))
            if not readable:
                raise self.failure(f"said nothing for {within:.0f} s")
            data = os.read(fd, 65536)
            if not data:
                raise self.failure("ended too early")
            self.unread += data
        line, _, self.unread = self.unread.partition(b"\n")
        return line.decode()

    def expect(self, word: str, within: float) -> str:
        """Return what follows `word` in the next line; RunFailed if it begins with another one."""
        said, _, rest = self.line(within).partition(" ")
        if said != word:
            raise self.failure(f"said {said!r} where {word!r} was wanted")
        return rest

    def order(self) -> None:
        """Give it one line of input."""
        assert self.popen.stdin is not None
        try:
            os.write(self.popen.stdin.fileno(), b"\n")
        except BrokenPipeError:
            pass  # it has ended, and `line` will say so with its last words

    def end_input(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.close()

    def failure(self, what: str) -> RunFailed:
        self.stderr.seek(0)
        words = self.stderr.read().decode(errors="replace").strip()
        return RunFailed(f"{self.name} {what}" + (f": {words[-2000:]}" if words else ""))

    def kill(self) -> None:
        """End the process and all that it forked, at once."""
        # The group outlives its leader as long as a forked child is in it; the pid is not given away before
        # the wait below.
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                pipe.close()


@contextlib.contextmanager
def started(
    module: str, arguments: Sequence[str], cpus: set[int], *, stdin: int = subprocess.DEVNULL
) -> Iterator[Process]:
    """A child that is killed at the end of the block; it can be given orders if `stdin` is a pipe."""
    with tempfile.TemporaryFile() as stderr:
        process = Process(module, arguments, cpus, stderr, stdin)
        try:
            yield process
        finally:
            process.kill()


def wait_ready(server: Process) -> int:
    """The port on which `server` listens."""
    return int(server.expect("ready", READY_WITHIN))


@contextlib.contextmanager
def load_started(name: str, job: dict[str, Any]) -> Iterator[Process]:
    """A load, which is given its orders by lines: see `load/__main__.py`."""
    _, cpus = processors()
    with started("benchmarks.load", [name, json.dumps(job)], cpus, stdin=subprocess.PIPE) as load:
        yield load


@contextlib.contextmanager
def certificate() -> Iterator[str]:
    """A file with a certificate for 127.0.0.1 and its key, which is gone afterwards."""
    import trustme

    pem = trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    with pem.tempfile() as path:
        yield path


def compile_all() -> None:
    """Make the bytecode that pip makes of what it installs; of an editable installation it makes none."""
    for package in ("triosock", "benchmarks"):
        compileall.compile_dir(ROOT / package, quiet=2)


def raise_on_signals() -> None:
    """SIGTERM ends this program as Ctrl-C does: through every `finally`."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
