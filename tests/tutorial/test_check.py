"""The checker: a right solution is right, and of each wrong one it says what is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

from examples.tutorial import check
from examples.tutorial.exercises import EXERCISES
from tests.tutorial import solutions
from tests.tutorial.solutions import RIGHT, WRONG


def verdict(name, tmp_path, capsys):
    code = check.main([name.split("_")[0], str(solutions.write(tmp_path, name))])
    return code, capsys.readouterr().out


def test_every_lesson_has_both_kinds():
    for kind in (RIGHT, WRONG):
        assert {name.split("_")[0] for name in kind} == set(EXERCISES)


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_solution(name, tmp_path, capsys):
    code, out = verdict(name, tmp_path, capsys)
    assert (code, out.split(".")[0]) == (0, f"{name.split('_')[0]}: right"), out


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_solution_is_told_what_is_wrong(name, tmp_path, capsys):
    code, out = verdict(name, tmp_path, capsys)
    what, hint = WRONG[name]
    first, said, hinted = out.split("\n", 2)
    assert code == 1
    assert first == f"{name.split('_')[0]}: not yet."
    assert what in said
    assert hint in hinted


def test_a_worker_may_be_in_a_file_whose_name_no_module_can_have(tmp_path, capsys):
    mine = solutions.write(tmp_path, "lesson10_right").rename(tmp_path / "ada.lesson10 (1).py")
    code = check.main(["lesson10", str(mine)])
    assert (code, capsys.readouterr().out.split(".")[0]) == (0, "lesson10: right")


def test_the_line_is_named_also_if_the_file_was_given_by_a_relative_path(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert check.main(["lesson9", solutions.write(tmp_path, "lesson9_raises").name]) == 1
    assert capsys.readouterr().out.endswith("Look at line 5 of lesson9_raises.py: await office.write(name)\n")


def test_without_a_line_of_the_solution_it_is_said_who_raised(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("from operator import truediv as sell\n")
    assert check.main(["lesson9", str(tmp_path / "mine.py")]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"  No line of {tmp_path / 'mine.py'} raised it, but `")


def test_without_a_file_the_exercise_is_shown(capsys):
    assert check.main(["lesson3"]) == 0
    assert "serve_all(handler, doors, task_status)" in capsys.readouterr().out


def test_a_file_that_is_none(tmp_path, capsys):
    mine = tmp_path / "mine.txt"
    assert check.main(["lesson1", str(mine)]) == 1
    assert f"there is no file {mine}" in capsys.readouterr().out
    mine.touch()
    assert check.main(["lesson1", str(mine)]) == 1
    assert "is no Python file" in capsys.readouterr().out


def test_an_unknown_lesson_is_a_wrong_command_line(capsys):
    with pytest.raises(SystemExit) as ended:
        check.main(["lesson0"])
    assert ended.value.code == 2
    assert "lesson9" in capsys.readouterr().err


def test_a_solution_that_blocks_the_thread_is_ended(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("import threading\nasync def handle(conn):\n    threading.Event().wait()\n")
    program = (
        f"import sys; from examples.tutorial import check; check.PATIENCE = 3; "
        f"sys.argv[1:] = ['lesson1', {str(mine)!r}]; check.command()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f'"{mine}", line 3 in handle' in done.stderr


def test_it_is_a_command(tmp_path):
    right = solutions.write(tmp_path, "lesson1_right")
    command = [sys.executable, "-m", "examples.tutorial.check", "lesson1", right]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("lesson1: right.")
