"""What the commands print on standard output.

The rules:

1. **A reader that has seen enough is no error**: `triosock top SOCKET | head` ends quietly.
2. **What cannot be printed is an error**, and not one of what was being printed.
3. After either nothing more is printed: the interpreter would try again at its end, and complain.
"""

from __future__ import annotations

import contextlib
import os
import sys

from .arguments import OperatingSystemError


class NobodyReads(Exception):
    """The other end of the pipe on standard output is closed."""


def say(*lines: str, end: str = "\n") -> None:
    """Print lines at once, with `end` after the last. Raises: NobodyReads; OperatingSystemError."""
    try:
        print(*lines, sep="\n", end=end, flush=True)
    except BrokenPipeError:
        _print_no_more()
        raise NobodyReads from None
    except OSError as error:
        _print_no_more()
        raise OperatingSystemError(f"standard output: {error.strerror or error}") from None
    except UnicodeEncodeError as error:  # its encoding, that of the locale, does not have this text
        _print_no_more()
        raise OperatingSystemError(f"standard output: {error}") from None


def _print_no_more() -> None:
    with contextlib.suppress(OSError):  # a stand-in for standard output may have no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
