"""The checker of the tutorial's exercises: says what is wrong, not only that something is.

    python -m examples.tutorial.check lesson3            show the exercise
    python -m examples.tutorial.check lesson3 mine.py    check a solution
    python -m examples.tutorial.check FOLDER             check those of a whole class

The rules:

1. **A verdict is a sentence**: what was done, what was wanted, what came instead, and a hint. The exit code
   is 0 for a right solution, 1 for a wrong one, 2 for a wrong command line.
2. **Time is virtual** where it can be: an exercise about ten seconds takes none, and a solution that waits
   for ever is found at once. A solution that blocks the thread is ended after `PATIENCE` real seconds.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import inspect
import logging
import os
import re
import sys
import traceback
import warnings
from pathlib import Path
from types import ModuleType
from typing import Final

import trio
import trio.testing

from .classroom import check_class
from .exercises import EXERCISES
from .verdict import Exercise, Wrong, causes

#: Real seconds after which a solution that does not return is ended.
PATIENCE: Final = 20.0


def load(path: Path) -> ModuleType:
    """Import a solution. Raises: Wrong if that is not possible, with the reason."""
    spec = importlib.util.spec_from_file_location("solution", path)
    if not path.is_file():
        raise Wrong(f"there is no file {path}", f"The current folder is {Path.cwd()}.")
    if spec is None or spec.loader is None:
        raise Wrong(f"{path} is no Python file", "The name of your file should end with .py.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SystemExit as error:
        raise Wrong(f"{path} ends the program when it is imported", "Leave out sys.exit().") from error
    except Exception as error:  # whatever a learner's file may raise
        raise Wrong(
            f"{path} cannot be imported: {_last_line(error)}", f"Try it alone: python {path}"
        ) from error
    return module


def examine(exercise: Exercise, path: Path) -> None:
    """Check a solution. Raises: Wrong."""
    module = load(path)
    for name in exercise.names:
        if not hasattr(module, name):
            raise Wrong(f"there is no `{name}` in {path}", "The exercise is:\n" + exercise.task)
    warned: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            _run(exercise, module)
    except Wrong as wrong:
        raise Wrong(wrong.what, _without_await(warned) or wrong.hint) from wrong
    except Exception as error:  # whatever a learner's code may raise
        found = [one for one in causes(error) if isinstance(one, Wrong)]
        if found:
            raise Wrong(found[0].what, _without_await(warned) or found[0].hint) from error
        first = causes(error)[0]
        raise Wrong(f"it raised {_last_line(first)}", _where(first, path)) from error


def _run(exercise: Exercise, module: ModuleType) -> None:
    if inspect.iscoroutinefunction(exercise.check):
        clock = trio.testing.MockClock(autojump_threshold=0) if exercise.virtual_time else None
        trio.run(exercise.check, module, clock=clock)
    else:
        exercise.check(module)


def _without_await(warned: list[warnings.WarningMessage]) -> str | None:
    """The hint for a forgotten `await`: Python only warns of it."""
    for one in warned:
        found = re.match(r"coroutine '(?:.*\.)?(\w+)' was never awaited", str(one.message))
        if found:
            where = f"`{found[1]}(…)` was called without `await`, in line {one.lineno}"
            return f"{where}: nothing happens without it."
    return None


def _last_line(error: BaseException) -> str:
    return traceback.format_exception_only(type(error), error)[-1].strip()


def _where(error: BaseException, path: Path) -> str:
    """Name the line of the solution that raised, or the function if no line of it did."""
    calls = traceback.extract_tb(error.__traceback__)
    # An imported module has the absolute path of its file, also if a relative one was given.
    own = [one for one in calls if one.filename == os.path.abspath(path)]
    if own:
        return f"Look at line {own[-1].lineno} of {path}: {own[-1].line}"
    names = ", ".join(f"`{one.name}`" for one in calls[-1:])
    return f"No line of {path} raised it, but {names or 'the checker'}, with what your code passed to it."


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.tutorial.check", description="Check an exercise of the tutorial."
    )
    lessons = ", ".join(EXERCISES)
    parser.add_argument("lesson", metavar="lesson|FOLDER", help=f"{lessons}; or a folder of solutions")
    parser.add_argument("file", nargs="?", type=Path, help="your solution; without it, the exercise is shown")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the table of a folder to FILE")
    given = parser.parse_args(arguments)
    if given.lesson not in EXERCISES:
        if given.file is None and Path(given.lesson).is_dir():
            return check_class(Path(given.lesson), set(EXERCISES), csv_file=given.csv)
        parser.error(f"{given.lesson!r} is no folder, and none of {lessons}")
    exercise = EXERCISES[given.lesson]
    if given.file is None:
        print(exercise.task)
        return 0
    try:
        examine(exercise, given.file)
    except Wrong as verdict:
        print(f"{given.lesson}: not yet.\n  {verdict.what}.\n  {verdict.hint}")
        return 1
    print(f"{given.lesson}: right. {exercise.praise}")
    return 0


def command() -> int:
    """Run `main` in its own process, for `python -m`."""
    log = logging.getLogger("triosock")
    log.addHandler(logging.NullHandler())  # the verdict says it better
    log.propagate = False
    if not any(os.path.isdir(word) for word in sys.argv[1:]):  # each of a class has its own process
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
    try:
        return main()
    finally:
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    sys.exit(command())
