"""The solutions of a whole class: every file in a folder is checked, and a table says how they did.

    python -m examples.tutorial.check FOLDER

A solution is a Python file with the name of its lesson in its own: `ada/lesson1.py`, `lesson1_ada.py` and
`ada-lesson1.py` are Ada's. Files without one are left alone.

The rules:

1. **Each solution runs in its own process**, so that one that blocks, exits or changes a module affects no
   other. This is no protection: checking a solution runs its code.
2. As many run at a time as there are processors; the table has the order of names.
"""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import attrs
import trio

#: Real seconds for one solution: several times what the checker itself allows.
PATIENCE: Final = 60.0
_LESSON: Final = re.compile(r"lesson\d+")


@attrs.frozen
class Solution:
    """One file: whose it is, and of which lesson."""

    student: str
    lesson: str
    path: Path


@attrs.frozen
class Verdict:
    """What the checker said: `word` is "right", "not yet" or "stopped" (it did not end, or crashed)."""

    solution: Solution
    word: str
    text: str


def find(folder: Path, lessons: set[str]) -> list[Solution]:
    """Return the solutions in a folder and in the folders in it, by student and lesson."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        named = _LESSON.search(path.stem)
        if named is None or named[0] not in lessons or any(part[0] in "._" for part in _inside(folder, path)):
            continue
        rest = (path.stem[: named.start()] + " " + path.stem[named.end() :]).strip(" _-.")
        inner = "/".join(_inside(folder, path)[:-1])
        found.append(Solution(" ".join(filter(None, (inner, rest))) or "?", named[0], path))
    return sorted(found, key=lambda one: (one.student.casefold(), _number(one.lesson)))


def _inside(folder: Path, path: Path) -> tuple[str, ...]:
    return path.relative_to(folder).parts


def _number(lesson: str) -> int:
    return int(lesson.removeprefix("lesson"))


async def check_all(solutions: list[Solution]) -> list[Verdict]:
    """Check all of them; return the verdicts in the same order."""
    verdicts: dict[Solution, Verdict] = {}
    limiter = trio.CapacityLimiter(os.cpu_count() or 1)

    async def check(solution: Solution) -> None:
        async with limiter:
            verdicts[solution] = await _check(solution)

    async with trio.open_nursery() as nursery:
        for solution in solutions:
            nursery.start_soon(check, solution)
    return [verdicts[solution] for solution in solutions]


async def _check(solution: Solution) -> Verdict:
    command = [sys.executable, "-B", "-m", "examples.tutorial.check", solution.lesson, str(solution.path)]
    done: subprocess.CompletedProcess[bytes] | None = None
    with trio.move_on_after(PATIENCE):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    if done is None:
        return Verdict(solution, "stopped", f"it had not ended after {PATIENCE:g} s")
    said = done.stdout.decode(errors="replace").rstrip()
    # The verdict is the last that is printed; a solution may print, too.
    _, mark, verdict = said.rpartition(f"{solution.lesson}: ")
    if mark and done.returncode == 0 and verdict.startswith("right."):
        return Verdict(solution, "right", verdict)
    if mark and done.returncode == 1 and verdict.startswith("not yet."):
        return Verdict(solution, "not yet", verdict.removeprefix("not yet.").strip())
    errors = done.stderr.decode(errors="replace").strip().splitlines()
    why = "it blocks the thread" if any("Timeout" in line for line in errors[:1]) else "it ended the process"
    return Verdict(solution, "stopped", f"{why}, exit code {done.returncode}")


def table(verdicts: list[Verdict]) -> str:
    """Return how they did: a row for each student, a column for each lesson, and a sum."""
    lessons, words = _columns(verdicts)
    rows = [["", *lessons], *([student, *(by.get(one, "-") for one in lessons)] for student, by in words)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    counts = ", ".join(
        f"{number} {word}"
        for word in ("right", "not yet", "stopped")
        if (number := sum(verdict.word == word for verdict in verdicts))
    )
    total = f"{_count(len(words), 'student')}, {_count(len(verdicts), 'solution')}: {counts}"
    return "\n".join([*(line.rstrip() for line in lines), "", total])


def details(verdicts: list[Verdict]) -> str:
    """Return what is said of each solution that is not right."""
    parts = []
    for verdict in verdicts:
        if verdict.word != "right":
            lines = "\n".join(f"  {line.strip()}" for line in verdict.text.splitlines())
            parts.append(f"{verdict.solution.student}, {verdict.solution.lesson}: {verdict.word}\n{lines}")
    return "\n\n".join(parts)


def as_csv(verdicts: list[Verdict]) -> str:
    """Return the table for a spreadsheet."""
    lessons, words = _columns(verdicts)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["student", *lessons])
    writer.writerows([student, *(by.get(one, "") for one in lessons)] for student, by in words)
    return text.getvalue()


def _columns(verdicts: list[Verdict]) -> tuple[list[str], list[tuple[str, dict[str, str]]]]:
    lessons = sorted({verdict.solution.lesson for verdict in verdicts}, key=_number)
    words: dict[str, dict[str, str]] = {}
    for verdict in verdicts:
        words.setdefault(verdict.solution.student, {})[verdict.solution.lesson] = verdict.word
    return lessons, list(words.items())


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def check_class(folder: Path, lessons: set[str], *, csv_file: Path | None = None) -> int:
    """Check a folder, print the table and what is said of each; return the exit code: 0 if all are right, 1
    if one is not, 2 if there is no solution, or the table cannot be written.
    """
    solutions = find(folder, lessons)
    if not solutions:
        print(
            f"in {folder} there is no file with the name of a lesson, such as ada/lesson1.py", file=sys.stderr
        )
        return 2
    verdicts = trio.run(check_all, solutions)
    print(table(verdicts))
    if said := details(verdicts):
        print(f"\n{said}")
    if csv_file is not None:
        try:
            csv_file.write_text(as_csv(verdicts), "utf-8")
        except OSError as error:
            print(f"the table was not written: {error}", file=sys.stderr)
            return 2
    return int(any(verdict.word != "right" for verdict in verdicts))
