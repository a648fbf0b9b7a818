"""The source lines on a page: all lines of the program's own files, and of other files those on a stack.

The invariant: **a page has no absolute paths of this machine**: a file is named by its path below the current
folder, below the folder of the packages, or by its last two names.
"""

from __future__ import annotations

import linecache
import os
import sysconfig
from pathlib import Path
from typing import Final, Required, TypedDict, final

from ..text import printable
from .stacks import owner_of

#: The maximum of characters of one file, and of all files; of a larger file only lines on a stack are kept.
MAX_FILE: Final = 200_000
MAX_ALL: Final = 800_000
#: The maximum of characters of one line.
MAX_LINE: Final = 300
_PATHS: Final = sysconfig.get_paths()
_ROOTS: Final = tuple(_PATHS[name] for name in ("purelib", "platlib", "stdlib"))
_PACKAGE: Final = str(Path(__file__).parents[3])


def short_path(file: str) -> str:
    """Return the name that a file has on a page."""
    if not os.path.isabs(file):
        return printable(file)
    for root in (os.getcwd(), *_ROOTS, _PACKAGE):
        if file.startswith(root + os.sep):
            return printable(os.path.relpath(file, root))
    return printable(os.sep.join(file.split(os.sep)[-2:]))


class Packed(TypedDict, total=False):
    """A file for the page: all of its `text`, or some of its `lines` by their numbers."""

    name: Required[str]
    own: Required[bool]
    trio: bool
    lines: dict[int, str]
    text: list[str]


@final
class Sources:
    """Collects the lines of files for a page."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._files: list[Packed] = []
        self._room = MAX_ALL

    def add(self, file: str, line: int) -> int:
        """Add a line of a file; return the file's number."""
        number = self._numbers.get(file)
        if number is None:
            number = self._numbers[file] = len(self._files)
            self._files.append(self._begin(file))
        kept = self._files[number]
        if "lines" in kept:
            kept["lines"][line] = _cut(linecache.getline(file, line))
        return number

    def _begin(self, file: str) -> Packed:
        kept: Packed = {"name": short_path(file), "own": owner_of(file) == "own", "lines": {}}
        if owner_of(file) == "trio":
            kept["trio"] = True
        if kept["own"]:
            lines = [_cut(line) for line in linecache.getlines(file)]
            size = sum(map(len, lines)) + len(lines)
            if 0 < size <= min(MAX_FILE, self._room):
                self._room -= size
                del kept["lines"]
                kept["text"] = lines
        return kept

    def packed(self) -> list[Packed]:
        """Return all files, in the order of their numbers."""
        return self._files


def _cut(line: str) -> str:
    return line.rstrip()[:MAX_LINE].expandtabs(4)
