"""`python -m triosock tell SOCKET VERB`: what a running program may be told at its control socket.

The program must have been started with ``--control SOCKET --control-verbs`` and workers, or have a
`serve_control(…, verbs=True)` of its own, by the same user. What changes nothing is told without verbs:
``metrics``, those of all workers, in the text format of Prometheus; and ``events``, a line of JSON for each
as it happens, until interrupted.
"""

from __future__ import annotations

import argparse
import json
import socket
from typing import Final

from .arguments import Commands, MachineRefused

LOOKS: Final = ("metrics", "events")
VERBS: Final = (*LOOKS, "drain", "restart", "workers", "suspend", "resume", "cut")
#: Seconds: a restart answers when its last worker has taken over.
_PATIENCE: Final = 600.0


def add_parser(commands: Commands) -> None:
    """Add `tell` and its arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "tell",
        help="tell a running program to drain, restart, suspend, resume or cut",
        description="Tell a running program what to do, at its control socket, and print what was done.",
        epilog="example: python -m triosock tell /run/shop.control cut --worker 1 --connection 7",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("socket", metavar="SOCKET", help="the path that --control named")
    parser.add_argument("verb", metavar="VERB", choices=VERBS, help=", ".join(VERBS))
    parser.add_argument("--count", type=int, help="how many workers there should be, for `workers`")
    parser.add_argument("--worker", type=int, help="which one, by its number: for suspend, resume and cut")
    parser.add_argument("--connection", type=int, help="which one, by its number, for `cut`")
    parser.add_argument(
        "--kinds", nargs="+", metavar="EVENT", help="which ones, by their names, for `events`"
    )
    parser.add_argument("--server", help="of which server, by its name, for `cut`")


def run(arguments: argparse.Namespace) -> int:
    """Tell, and print the answer. Raises: MachineRefused if nobody answers, or it is refused."""
    request = {
        "want" if arguments.verb in LOOKS else "do": arguments.verb,
        **{
            name: value
            for name in ("count", "worker", "connection", "server", "kinds")
            if (value := getattr(arguments, name)) is not None
        },
    }
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_PATIENCE)
            sock.connect(arguments.socket)
            sock.sendall(json.dumps(request).encode() + b"\n")
            if arguments.verb == "events":
                return _print_lines(sock)
            while not answer.endswith(b"\n") and (data := sock.recv(65_536)):
                answer += data
    except OSError as error:
        raise MachineRefused(f"{arguments.socket}: {error.strerror or error}") from None
    if not answer:
        raise MachineRefused(f"{arguments.socket} does not answer: it obeys its own user only")
    said = json.loads(answer)
    if "error" in said:
        raise MachineRefused(said["error"])
    print(said.get("done") or said["metrics"].rstrip("\n"))
    return 0


def _print_lines(sock: socket.socket) -> int:
    """Print what comes, line by line, until it ends or Ctrl-C. Raises: MachineRefused if it is an error."""
    sock.settimeout(None)
    with sock.makefile(encoding="utf-8") as lines:
        try:
            for line in lines:
                if line.startswith('{"error"'):
                    raise MachineRefused(json.loads(line)["error"])
                print(line, end="", flush=True)
        except KeyboardInterrupt:
            pass
    return 0
