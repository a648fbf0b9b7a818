"""`python -m triosock tell SOCKET VERB`: sends a command to the control socket of a running program.

The program must run as the same user, and have been started with ``--control SOCKET --control-verbs`` and
``--workers``, or call `serve_control(…, verbs=True)`. Two commands work without verbs, since they change
nothing: ``metrics`` prints the metrics of the program, or of all its workers, in the text format of
Prometheus; ``events`` prints a line of JSON for each event, until Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
from typing import Final

from .arguments import Commands, OperatingSystemError
from .output import say

QUERIES: Final = ("metrics", "events")
VERBS: Final = (*QUERIES, "drain", "restart", "workers", "suspend", "resume", "cut")
#: Seconds to wait for an answer. A restart answers when its last worker was replaced.
_TIMEOUT: Final = 600.0


def add_parser(commands: Commands) -> None:
    """Add `tell` and its arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "tell",
        help="send a command to a running program: drain, restart, suspend, resume or cut",
        description="Send a command to a running program at its control socket, and print the answer.",
        epilog="example: python -m triosock tell /run/shop.control cut --worker 1 --connection 7",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("socket", metavar="SOCKET", help="the path given to --control")
    parser.add_argument("verb", metavar="VERB", choices=VERBS, help=", ".join(VERBS))
    parser.add_argument("--count", type=int, help="the number of workers, for `workers`")
    parser.add_argument("--worker", type=int, help="the number of the worker, for suspend, resume and cut")
    parser.add_argument("--connection", type=int, help="the number of the connection, for `cut`")
    parser.add_argument(
        "--kinds", nargs="+", metavar="EVENT", help="the names of event classes, for `events`"
    )
    parser.add_argument("--server", help="the name of the server, for `cut`")


def run(arguments: argparse.Namespace) -> int:
    """Send the command, and print the answer; return 128 + SIGINT after Ctrl-C, which takes no command back.

    Raises: OperatingSystemError if there is no answer, or the answer is an error.
    """
    try:
        return _tell(arguments)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _tell(arguments: argparse.Namespace) -> int:
    request = {
        "want" if arguments.verb in QUERIES else "do": arguments.verb,
        **{
            name: value
            for name in ("count", "worker", "connection", "server", "kinds")
            if (value := getattr(arguments, name)) is not None
        },
    }
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_TIMEOUT)
            sock.connect(arguments.socket)
            sock.sendall(json.dumps(request).encode() + b"\n")
            if arguments.verb == "events":
                return _print_lines(sock)
            while not answer.endswith(b"\n") and (data := sock.recv(65_536)):
                answer += data
    except OSError as error:
        raise OperatingSystemError(f"{arguments.socket}: {error.strerror or error}") from None
    say(_read_answer(arguments.socket, answer))
    return 0


def _read_answer(path: str, answer: bytes) -> str:
    """Return the text of an answer.

    Raises: OperatingSystemError if it is an error, or no answer of triosock.
    """
    if not answer:
        raise OperatingSystemError(
            f"{path} does not answer: the program answers only the user that it runs as"
        )
    try:
        said = json.loads(answer)
    except ValueError:
        said = None
    match said:
        case {"error": error}:
            raise OperatingSystemError(str(error))
        case {"done": str(text)} | {"metrics": str(text)}:
            return text.rstrip("\n")
    raise OperatingSystemError(
        f"{path} has sent no whole answer: the program has ended, or it is no control socket of triosock"
    )


def _print_lines(sock: socket.socket) -> int:
    """Print received lines until the end or Ctrl-C. Raises: OperatingSystemError for an error."""
    sock.settimeout(None)
    with sock.makefile(encoding="utf-8") as lines:
        try:
            for line in lines:
                if line.startswith('{"error"'):
                    raise OperatingSystemError(json.loads(line)["error"])
                say(line, end="")
        except KeyboardInterrupt:
            pass
    return 0
