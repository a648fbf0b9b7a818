"""The solutions of a class: who is found, what the table says, and that one solution cannot spoil another."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from examples.tutorial import check, classroom
from examples.tutorial.classroom import Solution, Verdict
from examples.tutorial.exercises import EXERCISES
from tests.tutorial import solutions

CODE = pathlib.Path(__file__).parents[2] / "docs" / "code"


def lay_out(folder, **files):
    """Write solutions, or other texts, under other names."""
    for name, what in files.items():
        path = folder / name.replace("__", "/")
        path = path.with_name(path.name + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(what if "\n" in what else solutions.text(what))
    return folder


def test_a_solution_is_found_by_the_name_of_its_lesson(tmp_path):
    for name in (
        *("ada/lesson1.py", "ada/lesson10.py", "bob/work/lesson2_second_try.py", "lesson1_cyd.py"),
        *("Dan-lesson2.py", "notes.py", ".hidden/lesson1.py", "ada/lesson1.txt"),
        *("_old/lesson1.py", "lesson3.py"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = classroom.find(tmp_path, {*EXERCISES, "lesson10"})
    assert [(one.student, one.lesson) for one in found] == [
        *(("?", "lesson3"), ("ada", "lesson1"), ("ada", "lesson10")),
        *(("bob/work second_try", "lesson2"), ("cyd", "lesson1"), ("Dan", "lesson2")),
    ]


def test_the_table_is_the_one_on_the_page(tmp_path, capsys):
    lay_out(
        tmp_path,
        ada__lesson1="lesson1_right",
        ada__lesson2="lesson2_right",
        bob__lesson1="lesson1_right",
        bob__lesson2="lesson2_drains",
        cyd__lesson1="lesson1_no_await",
    )
    code = check.main([str(tmp_path), "--csv", str(tmp_path / "marks.csv")])
    out = capsys.readouterr().out
    assert code == 1
    assert out == (CODE / "classroom.txt").read_text("utf-8")
    assert (tmp_path / "marks.csv").read_text() == (
        "student,lesson1,lesson2\nada,right,right\nbob,right,not yet\ncyd,not yet,\n"
    )


def test_all_are_right(tmp_path, capsys):
    lay_out(tmp_path, ada__lesson1="lesson1_right")
    assert check.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "     lesson1\nada  right\n\n1 student, 1 solution: 1 right\n"


def test_what_ends_or_crashes_its_process_is_not_right(tmp_path, capsys):
    lay_out(
        tmp_path,
        ada__lesson1="import os\nos._exit(0)\n",
        bob__lesson1="import sys\nsys.exit(0)\n",
        cyd__lesson1="print('lesson1: right. Really.')\nimport os\nos._exit(1)\n",
        dan__lesson1="import ctypes\nctypes.string_at(0)\n",
        eve__lesson1="async def handle(conn):\n    raise SystemExit(0)\n",
        fay__lesson1="lesson1_right",
    )
    assert check.main([str(tmp_path)]) == 1
    words = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines()[1:7])
    assert words.pop("fay") == "right"
    assert set(words.values()) == {"stopped", "not yet"}
    assert words["bob"] == "not yet"


def test_what_blocks_is_told(tmp_path, capsys, monkeypatch):
    lay_out(tmp_path, ada__lesson1="import time\nasync def handle(conn):\n    time.sleep(600)\n")
    monkeypatch.setattr(classroom, "PATIENCE", 2.0)
    assert check.main([str(tmp_path)]) == 1
    assert "ada, lesson1: stopped\n  it had not ended after 2 s" in capsys.readouterr().out


def test_the_words_of_a_table_have_columns():
    one = Solution("ada", "lesson2", pathlib.Path("x"))
    two = Solution("a name that is longer", "lesson10", pathlib.Path("y"))
    verdicts = [Verdict(one, "not yet", "so.\nhint"), Verdict(two, "right", "")]
    assert classroom.table(verdicts).splitlines()[:3] == [
        "                       lesson2  lesson10",
        "ada                    not yet  -",
        "a name that is longer  -        right",
    ]
    assert classroom.details(verdicts) == "ada, lesson2: not yet\n  so.\n  hint"


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_without_solutions_is_a_wrong_command_line(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-m", "examples.tutorial.check", tmp_path / folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert ("no file with the name of a lesson" if folder == "empty" else "is no folder") in done.stderr


def test_a_table_that_cannot_be_written_is_a_message(tmp_path, capsys):
    (tmp_path / "lesson1_ada.py").write_text("handle = 1")
    assert check.main([str(tmp_path), "--csv", str(tmp_path / "no folder" / "marks.csv")]) == 2
    said = capsys.readouterr()
    assert "1 student, 1 solution: 1 not yet" in said.out
    assert "the table was not written: " in said.err
