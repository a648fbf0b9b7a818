"""Makes a notebook of each lesson: `python -m examples.tutorial.notebooks FOLDER`.

A notebook has the text of the lesson's page and the code of its file, in the order of the page, so that
neither is written twice. It belongs to this checkout, from which it imports. To be made it needs nothing but
Python, and to be opened Jupyter.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from .course import COURSE, stands
from .exercises import EXERCISES

ROOT: Final = Path(__file__).parents[2]
LESSONS: Final = ROOT / "examples" / "tutorial"
PAGES: Final = ROOT / "docs" / "tutorial"

#: A directive of the page: ```{name} argument, and its options; or :::{admonition} title, and its text.
_DIRECTIVE: Final = re.compile(
    r"^```\{([\w-]+)\} ?(.*?)\n(.*?)^```$|^:::\{admonition\} (.*?)\n(.*?)^:::$", re.M | re.S
)
_LINK: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")

_SETUP: Final = """\
import sys

sys.path[:0] = {paths!r}
__file__ = {file!r}
%autoawait trio
%load_ext examples.tutorial.inline

{code}

from examples.tutorial.inline import picture, show  # below the cell, and in no file
"""
_OWN: Final = """\
# A cell may use `await`, `async for` and `async with` at its top; each cell has a trio run of its own.
from triosock.observe import Recorder
from triosock.testing import open_server


async def handle(conn):
    async for line in conn.lines():
        await conn.send_all(line[::-1].strip() + b"\\n")


with Recorder() as recorder:
    async with open_server(handle, name="mine") as served:
        client = await served.connect()
        await client.send_all(b"hello\\n")
        print(await client.receive_some())
show(recorder)
"""


class Lesson:
    """The code of a lesson, by parts. `shown` are the functions and classes on its page, in its order."""

    def __init__(self, name: str, shown: list[str]) -> None:
        self.path = LESSONS / f"{name}.py"
        self._text = self.path.read_text("utf-8")
        self._body = ast.parse(self._text).body
        #: What is not shown goes with what it needs to be defined, and else into the first cell.
        self._with: dict[str, list[str]] = {part: [] for part in ("", *shown)}
        for node in self._body[1:]:
            if getattr(node, "name", None) not in shown and not _is_main(node):
                needed = [part for part in shown if part in _needed_by(node)]
                self._with[needed[-1] if needed else ""].append(self._source(node))

    def _source(self, node: ast.stmt) -> str:
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
        return "\n".join(self._text.splitlines()[first - 1 : node.end_lineno])

    def part(self, name: str) -> str:
        """Return the source of a function or class, and what goes with it."""
        (node,) = [node for node in self._body if getattr(node, "name", None) == name]
        return "\n\n\n".join([self._source(node), *self._with[name]])

    def rest(self) -> str:
        """Return what the page does not show, in the order of the file, without its main part."""
        return "\n".join(self._with[""])

    def main(self) -> str:
        """Return what the program does when it is run."""
        (node,) = [node for node in self._body if _is_main(node)]
        assert isinstance(node, ast.If)
        lines = self._text.splitlines()[node.body[0].lineno - 1 : node.end_lineno]
        return "\n".join(line.removeprefix("    ") for line in lines)


def _needed_by(node: ast.stmt) -> set[str]:
    """Return the names that are looked up when a statement is run: of a function, not those in its body."""
    parts: list[ast.AST] = [node]
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        parts = [*node.decorator_list, node.args]
    elif isinstance(node, ast.ClassDef):
        parts = [*node.decorator_list, *node.bases, *node.keywords]
    return {one.id for part in parts for one in ast.walk(part) if isinstance(one, ast.Name)}


def _is_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.dump(node.test)


def notebook(name: str) -> dict[str, Any]:
    """Return the notebook of a lesson, in the format 4.5 of Jupyter (nbformat.readthedocs.io)."""
    text = (PAGES / f"{name}.md").read_text("utf-8")
    lesson = Lesson(name, re.findall(r"^:pyobject: (\w+)$", text, re.M))
    setup = _SETUP.format(paths=[str(ROOT), str(LESSONS)], file=str(lesson.path), code=lesson.rest())
    cells: list[tuple[str, str]] = []
    position = 0
    for found in _DIRECTIVE.finditer(text):
        _add(cells, "markdown", text[position : found.start()])
        position = found.end()
        for kind, source in _made_of(found, name, lesson):
            _add(cells, kind, source)
    _add(cells, "markdown", text[position:])
    first_code = next(number for number, (kind, _) in enumerate(cells) if kind == "code")
    needed = "What the lesson needs; run it, and read on."
    cells[first_code:first_code] = [("markdown", needed), ("code", setup)]
    cells += [("markdown", "## A server of your own"), ("code", _OWN)]
    return _written(cells)


def _made_of(found: re.Match[str], name: str, lesson: Lesson) -> list[tuple[str, str]]:
    directive, argument, options, title, said = found.groups()
    if title is not None:
        quoted = re.sub(r"^:class:.*\n", "", said).strip().replace("\n", "\n> ")
        return [("markdown", f"> **{title}**\n>\n> {quoted}")]
    if directive == "lesson-place":
        afterwards = "\n".join(f"- {one}" for one in COURSE[name].afterwards)
        return [("markdown", f"This is {stands(name)}. Afterwards you can\n\n{afterwards}")]
    if directive == "lesson-output":
        return [("code", lesson.main())]
    if directive == "exercise":
        start = f"%%solution {name}\n# Write it here, and run the cell.\n"
        return [("markdown", EXERCISES[name].task), ("code", start)]
    if directive == "literalinclude" and argument.endswith(f"{name}.py"):
        part = re.search(r"^:pyobject: (\w+)$", options, re.M)
        assert part is not None, f"{name}.md includes {argument} as a whole"
        return [("code", lesson.part(part[1]))]
    return []


def _add(cells: list[tuple[str, str]], kind: str, source: str) -> None:
    source = source.strip("\n") if kind == "code" else _LINK.sub(r"\1", source).strip()
    if not source:
        return
    if kind == "markdown" and cells and cells[-1][0] == kind:
        cells[-1] = (kind, f"{cells[-1][1]}\n\n{source}")
    else:
        cells.append((kind, source))


def _written(cells: list[tuple[str, str]]) -> dict[str, Any]:
    rows = []
    for number, (kind, source) in enumerate(cells):
        row: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": source}
        rows.append({**row, "outputs": [], "execution_count": None} if kind == "code" else row)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": rows}


def main(arguments: list[str]) -> int:
    """Write them all; return the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m examples.tutorial.notebooks FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name in COURSE:
        path = folder / f"{name}.ipynb"
        path.write_text(json.dumps(notebook(name), indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"{len(COURSE)} notebooks in {folder}: open them with `jupyter lab {folder}`")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
