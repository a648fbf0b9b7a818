"""`triosock record`: the program runs as without it, and the page is written however it ends."""

from __future__ import annotations

import sys

import pytest

from tests.programs import python
from triosock.cli import main

PROGRAM = """
import sys, trio

async def work():
    await trio.sleep(0)
    print("argv", sys.argv[1:], __name__, flush=True)
    sys.exit(3) if "exit" in sys.argv else None
    1 / 0 if "fail" in sys.argv else None

trio.run(work)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "work.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(folder, *words):
    return python("-m", "triosock", "record", *words, cwd=folder)


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["work.py"], []),
        (["-o", "run.html", "work.py", "a", "-b"], ["a", "-b"]),
        (["work.py", "a", "-o", "run.html", "-b"], ["a", "-b"]),
        (["work.py", "a", "--", "-o", "b"], ["a", "-o", "b"]),
        (["--max-events", "100", "-m", "work", "-b", "-o"], ["-b", "-o"]),
    ],
)
def test_the_program_gets_its_own_arguments(folder, words, given):
    done = record(folder, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"argv {given} __main__\n"
    assert done.stderr.startswith("triosock: 5 steps recorded in ")
    assert "async def work" in (folder / "run.html").read_text("utf-8")


@pytest.mark.parametrize(("how", "code"), [("exit", 3), ("fail", 1)])
def test_the_page_is_there_also_if_the_program_fails(folder, how, code):
    done = record(folder, "work.py", how)
    assert done.returncode == code
    assert ("ZeroDivisionError" in done.stderr) is (how == "fail")
    assert (folder / "run.html").exists()


def test_the_error_of_the_program_is_not_lost_with_the_page(folder):
    (folder / "out").mkdir()
    (folder / "fails.py").write_text("import os\nos.rmdir('out')\n1 / 0\n")
    done = record(folder, "-o", "out/run.html", "fails.py")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "No such file or directory" in done.stderr


@pytest.mark.parametrize(
    ("words", "complaint", "code"),
    [
        ([], "arguments are required: SCRIPT", 2),
        (["nothing.py"], "can't open file 'nothing.py'", 1),
        (["work.py", "-o", "no/run.html"], "-o: there is no folder", 2),
        (["--max-events", "0", "work.py"], "write a number from 1 on, not '0'", 2),
    ],
)
def test_mistakes_are_told_before_the_program_runs(folder, words, complaint, code, capsys):
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(["record", *words]))
    assert ended.value.code == code
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.out == ""


def test_a_program_that_never_runs_trio_is_told_what_to_do(folder):
    (folder / "defines.py").write_text("import trio\nif __name__ == 'main':\n    trio.run(trio.sleep, 0)\n")
    done = record(folder, "defines.py")
    assert done.returncode == 0
    assert done.stderr == (
        "triosock: nothing was recorded, for no trio run began in this process. The program must call "
        'triosock.run(…) or trio.run(…) when it is run as a script, as under `if __name__ == "__main__":`; '
        "asyncio, and processes that it starts, are not recorded\n"
    )
