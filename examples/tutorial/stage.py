"""Shared code of the lessons: clients, and the picture. It has no code for servers.

python examples/tutorial/lesson1.py            writes the picture into this folder
python examples/tutorial/lesson1.py FOLDER     or into that one
python examples/tutorial/lesson1.py --play     also writes a page to step through the run, and opens it
"""

import contextlib
import os
import pathlib
import socket
import sys
import webbrowser

import trio

import triosock
from triosock.observe import Recorder, Timeline

PATIENCE = 5.0  # seconds; a lesson that works never waits so long
NOTHING, END, RESET = "no answer", "the end of the connection", "a reset"


class Client:
    """A blocking client, for the parts of the lessons that run in threads."""

    def __init__(self, address):
        self.sock = socket.create_connection(address[:2], timeout=PATIENCE)
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.sock.close()

    def say(self, data):
        """Send all of it."""
        self.sock.sendall(data)

    def hear(self, patience=PATIENCE):
        """Return the next line that arrives within `patience` seconds; NOTHING, END or RESET if none does."""
        self.sock.settimeout(patience)
        try:
            while b"\n" not in self._buffer:
                data = self.sock.recv(65_536)
                if not data:
                    return END
                self._buffer += data
        except TimeoutError:
            return NOTHING
        except ConnectionResetError:
            return RESET
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def ask(self, line, patience=PATIENCE):
        """Send a line, and return the next one that is received."""
        self.say(line + b"\n")
        return self.hear(patience)


async def connect(server):
    """Return a client inside a trio program: a `Connection`, which reads lines."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port)
    return triosock.Connection(stream)


async def hear(client, patience=PATIENCE):
    """As `Client.hear`."""
    try:
        with trio.fail_after(patience):
            return (await client.receive_until(b"\n")).decode().strip()
    except trio.TooSlowError:
        return NOTHING
    except triosock.Incomplete:
        return END
    except trio.BrokenResourceError:
        return RESET


async def ask(client, line, patience=PATIENCE):
    """As `Client.ask`."""
    await client.send_all(line + b"\n")
    return await hear(client, patience)


def refused(port):
    """Whether a connection to this port is refused."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


@contextlib.contextmanager
def picture(script):
    """Record the servers that start in the block, and draw them when the block ends."""
    with Timeline() as timeline, played(script):
        yield timeline
    path = beside(script)
    timeline.write_html(path)
    timeline.write_svg(path.with_suffix(".svg"), width=760)
    timeline.write_svg(path.with_suffix(".phone.svg"), width=360)
    print("The picture of this run:", path.name)


@contextlib.contextmanager
def played(script):
    """With --play, record every task that runs in the block, write a page to step through, and open it."""
    if "--play" not in sys.argv:
        yield
        return
    with Recorder() as recorder:
        yield
    path = beside(script).with_suffix(".play.html")
    recorder.write_html(path)
    print("To step through this run:", path.name)
    # Only at a terminal with a display, and not in CI.
    has_screen = sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    if sys.stdout.isatty() and has_screen and "CI" not in os.environ:
        webbrowser.open(path.resolve().as_uri())


def beside(script):
    """Return the path of a script's picture, in the folder that the command line names, or in this one."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    return pathlib.Path(words[0] if words else ".") / pathlib.Path(script).with_suffix(".html").name
