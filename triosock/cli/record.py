"""`python -m triosock record SCRIPT -o run.html`: runs a program, and writes a page to step through its run.

The page is written however the program ends, also after an error or Ctrl-C. The exit code is the program's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import runpy
import sys
from collections.abc import Iterator
from typing import Final

from ..observe import Recorder
from ..observe.text import count
from .arguments import Commands, OperatingSystemError, UsageError, typed

#: The message if no step was recorded.
_NOTHING: Final = (
    "nothing was recorded, for no trio run began in this process. The program must call triosock.run(…) or "
    'trio.run(…) when it is run as a script, as under `if __name__ == "__main__":`; asyncio, and processes '
    "that it starts, are not recorded"
)


def add_parser(commands: Commands) -> None:
    """Add `record` and its arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "record",
        help="run a program, and write a page to step through its run",
        description="Run a Python program as `python SCRIPT` or `python -m MODULE` would, record what the "
        "tasks of its trio runs do, and leave one HTML file to step through that, forwards and backwards. "
        "The file has the source text of the program in it.",
        epilog="example: python -m triosock record server.py -o run.html -- --port 9999",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "-m",
        dest="module",
        metavar="MODULE",
        nargs=argparse.REMAINDER,
        help="run a module instead of a file; all following arguments belong to it",
    )
    _add_options(parser)
    parser.add_argument(
        "program",
        metavar="SCRIPT [ARGS]",
        nargs=argparse.REMAINDER,
        help="the program's file, and its arguments; after a --, also those that look like options of this",
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that may be before the script or after it."""
    parser.add_argument("-o", dest="output", metavar="FILE", help="the page (default: run.html)")
    parser.add_argument(
        "--max-events",
        type=typed(_events),
        metavar="N",
        help="keep the last N events (default 50000)",
    )


def _events(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise ValueError(f"write a number from 1 on, not {word!r}")
    return int(word)


def run(arguments: argparse.Namespace) -> int:
    """Run the program, write the page; return the exit code.

    Raises: UsageError, OperatingSystemError, and what the program raises, including SystemExit and
        KeyboardInterrupt.
    """
    words = arguments.module or _script(arguments)
    if not words:
        raise UsageError("the following arguments are required: SCRIPT (or -m MODULE)")
    if not arguments.module and not os.path.exists(words[0]):
        raise OperatingSystemError(f"can't open file {words[0]!r}")
    output = os.path.abspath(arguments.output or "run.html")  # the program may change the working directory
    if not os.path.isdir(os.path.dirname(output)):
        raise UsageError(f"-o: there is no folder {os.path.dirname(output)!r}")
    recorder = Recorder(**({} if arguments.max_events is None else {"max_events": arguments.max_events}))
    with _page_written(recorder, output), recorder:
        _run_program(words, is_module=bool(arguments.module))
    return 0


def _script(arguments: argparse.Namespace) -> list[str]:
    """Return the script and its arguments, without options of this command before a --, which are applied."""
    words: list[str] = arguments.program
    if not words:
        return []
    middle = words.index("--") if "--" in words else len(words)
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog="triosock record")
    _add_options(options)
    found, rest = options.parse_known_args(words[1:middle])
    arguments.output = found.output or arguments.output
    arguments.max_events = found.max_events or arguments.max_events
    return [words[0], *rest, *words[middle + 1 :]]


def _run_program(words: list[str], *, is_module: bool) -> None:
    """Run the program as Python does: with the script's folder, or the current one for a module, first in the
    path.
    """
    sys.argv[:] = words
    if is_module:
        sys.path.insert(0, os.getcwd())
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        return
    sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))
    runpy.run_path(words[0], run_name="__main__")


@contextlib.contextmanager
def _page_written(recorder: Recorder, output: str) -> Iterator[None]:
    """Write the page when the block has ended. If the program raises, its exception goes on, and an error of
    the page is only printed.
    """
    try:
        yield
    except BaseException:
        try:
            _write_page(recorder, output)
        except OperatingSystemError as error:
            print(f"triosock: {error}", file=sys.stderr)
        raise
    _write_page(recorder, output)


def _write_page(recorder: Recorder, output: str) -> None:
    try:
        recorder.write_html(output)
    except OSError as error:
        raise OperatingSystemError(f"{output}: {error.strerror or error}") from None
    steps = len(recorder.steps())
    said = f"{count(steps, 'step')} recorded in {output}" if steps else _NOTHING
    print(f"triosock: {said}", file=sys.stderr)
