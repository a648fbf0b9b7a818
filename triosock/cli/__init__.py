"""The command line: `python -m triosock COMMAND …`, or `triosock COMMAND …`.

Each sub-command has a file with two functions: `add_parser(commands)` adds its arguments, and sets `parser`
and the function `run` by `set_defaults`; `run(arguments)` returns the exit code. `COMMANDS` lists these
files.

Exit codes: 0 after a drain, and when the reader of standard output has closed it; 1 for an error of the
system (an address in use, a file that cannot be read), for workers that fail, and for an answer of `tell`
that is an error; 2 for a wrong argument or a wrong configuration file; and 128 + the signal's number after a
second signal.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from .. import __version__
from . import record, serve, tell, top
from .arguments import OperatingSystemError, UsageError
from .output import NobodyReads

COMMANDS: Final = (serve, top, tell, record)

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args: `argv`, the words after the program's name; None for `sys.argv[1:]`.

    Raises: SystemExit for `--help`, `--version`, a wrong argument (2), or a second signal.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = make_parser().parse_args(words, argparse.Namespace(words=words))
    parser: argparse.ArgumentParser = arguments.parser
    try:
        return int(arguments.run(arguments))
    except UsageError as error:
        parser.error(str(error))
    except NobodyReads:
        return 0
    except OperatingSystemError as error:
        print(f"triosock: {error}", file=sys.stderr)
        return 1


def make_parser() -> argparse.ArgumentParser:
    """Return the parser with all sub-commands."""
    parser = argparse.ArgumentParser(
        prog="triosock", description="Servers on trio: nothing outlives its brackets."
    )
    parser.add_argument("--version", action="version", version=_versions())
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def _versions() -> str:
    return f"triosock {__version__} (trio {version('trio')}, Python {platform.python_version()})"
