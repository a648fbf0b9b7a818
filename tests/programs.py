"""Programs of this project, run as processes of their own: for the tests of the examples and of the CLI.

Nothing here sleeps: a test waits for a line that the program prints, for an answer, or for the end of the
process, and each of these waits is bounded. Warnings are errors in there, too, and a program that prints a
traceback or a warning fails its test.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import pathlib
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from triosock._ending_signals import SIGNALS, TOGETHER

ROOT = pathlib.Path(__file__).parent.parent
#: How long a test waits for anything before it says what is missing; nothing is supposed to take so long.
PATIENCE = 30.0
TROUBLE = re.compile(r"Traceback|Warning:|never awaited|Exception ignored")


def own_environment(**more: str) -> dict[str, str]:
    """With this checkout first: a command line that is installed may not be its own."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {**os.environ, "PYTHONPATH": path, **more}


class Program:
    """One process of a Python program; its output, errors included, is `output`."""

    def __init__(self, *arguments: object, cwd: pathlib.Path = ROOT, **environment: str) -> None:
        self.output = ""
        self.expects_trouble = False
        self.is_told_to_end = False
        script = [ROOT / name if str(name).startswith("examples/") else name for name in arguments]
        command = [sys.executable, "-X", "dev", "-W", "error", *map(str, script)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=own_environment(PYTHONUNBUFFERED="1", **environment),
        )
        assert self.process.stdout is not None
        self._pipe = self.process.stdout
        # What is read may end within a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        os.set_blocking(self._pipe.fileno(), False)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first match of `pattern` in the output, as soon as it is there."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.output)):
            if not self._read_some(deadline):
                raise AssertionError(f"{pattern!r} is not in what the program said:\n{self.output}")
        return match

    def _read_some(self, deadline: float) -> bool:
        """Add to the output; return False at its end, or when the time is over."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return False
        data = self._pipe.read()
        self.output += self._decoder.decode(data or b"")
        return bool(data)

    def port(self, name: str = "") -> int:
        """Return where it listens, or its server `name` does, as its log says."""
        return int(self.wait_for(rf"{re.escape(name and name + ': ')}listens on tcp://[^\s,]+:(\d+)[\s,]")[1])

    def signal_again(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a second signal, so much later that it is not taken for the first one told twice."""
        time.sleep(TOGETHER * 1.5)
        self.signal(number)

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to this process, and to no other."""
        self.process.send_signal(number)
        self.is_told_to_end |= number in SIGNALS

    def wait(self) -> int:
        """Return the exit code of the process when it has ended; its output is then complete."""
        deadline = time.monotonic() + PATIENCE
        while self._read_some(deadline):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.signal()
        return self.wait()

    def close(self) -> None:
        """End the process by its id, if it still runs, and free the pipe."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._pipe.close()


@contextlib.contextmanager
def running(*arguments: object, **options: Any) -> Iterator[Program]:
    """`with running("examples/01_echo.py", 0) as program:` it is gone at the end, and had no trouble."""
    program = Program(*arguments, **options)
    try:
        yield program
    except BaseException:
        print(f"--- output of {' '.join(map(str, arguments))}:\n{program.output}", file=sys.stderr)
        raise
    finally:
        program.close()
    assert program.expects_trouble or not TROUBLE.search(program.output), program.output


@contextlib.contextmanager
def server_program(*arguments: object, **options: Any) -> Iterator[Program]:
    """As `running`; it exits with 0 at the end of the block, by SIGTERM unless the block has ended it."""
    with running(*arguments, **options) as program:
        yield program
        if not program.is_told_to_end:
            program.signal()
        assert program.wait() == 0


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that ends by itself in the block, or is waited for at its end; killed if the block fails."""
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


class Client:
    """A plain blocking socket, with a bound on every wait."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)
        self._buffer = b""

    def say(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def line(self) -> bytes:
        """Return the next line, or what came before the end of the stream."""
        while b"\n" not in self._buffer and (data := self.sock.recv(65_536)):
            self._buffer += data
        line, end, self._buffer = self._buffer.partition(b"\n")
        return line + end

    def ask(self, data: bytes) -> bytes:
        """Send this, and return the next line."""
        self.say(data)
        return self.line()

    def exactly(self, size: int) -> bytes:
        """Return so many bytes."""
        while len(self._buffer) < size and (data := self.sock.recv(65_536)):
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def reset(self) -> bytes:
        """Return all that comes before a reset, and close; an AssertionError if the stream just ends."""
        try:
            while data := self.sock.recv(65_536):
                self._buffer += data
        except ConnectionResetError:
            return self._buffer
        finally:
            self.sock.close()
        raise AssertionError(f"no reset after {self._buffer!r}")

    def rest(self) -> bytes:
        """Return all to the end of the stream, and close: a server waits for that."""
        while data := self.sock.recv(65_536):
            self._buffer += data
        self.sock.close()
        rest, self._buffer = self._buffer, b""
        return rest


@contextlib.contextmanager
def dial(address: int | str | os.PathLike[str]) -> Iterator[Client]:
    """A client of a port of this machine, or of the Unix socket at a path."""
    if isinstance(address, int):
        sock = socket.create_connection(("localhost", address), timeout=PATIENCE)
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(os.fspath(address))
    with sock:
        yield Client(sock)


def python(
    *arguments: object, timeout: float = 2 * PATIENCE, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the interpreter to its end; what it printed is text."""
    command = [sys.executable, *map(str, arguments)]
    options = {"env": own_environment(), "capture_output": True, "text": True, **options}
    return subprocess.run(command, timeout=timeout, **options)


def printed(*arguments: object, **options: Any) -> str:
    """What such a run prints; it must end well, and say nothing on its standard error."""
    done = python(*arguments, **options)
    assert (done.returncode, done.stderr) == (0, ""), f"it printed {done.stdout!r}, and {done.stderr}"
    return done.stdout


def check_drain(
    program: Program, address: int | os.PathLike[str], number: signal.Signals = signal.SIGTERM
) -> None:
    """An idle client there, which has heard HELLO, hears the end when the program gets this signal."""
    with dial(address) as client:
        assert client.ask(b"hello\n") == b"HELLO\n"
        program.signal(number)
        assert client.rest() == b""


def tool(command: str, *arguments: object, stdin: bytes = b"", timeout: float = PATIENCE) -> bytes:
    """Run `nc`, `curl` or `openssl` and return what it printed on its standard output."""
    done = subprocess.run(
        [command, *map(str, arguments)],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=timeout,
    )
    return done.stdout
