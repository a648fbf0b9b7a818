"""The checker: a right solution is right, and of each wrong one it says what is wrong."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from examples.tutorial import check
from examples.tutorial.exercises import EXERCISES

SOLUTIONS = pathlib.Path(__file__).parent / "solutions"

#: A piece of the verdict and a piece of the hint, for each wrong solution.
WRONG = {
    "lesson1_global_counter": ("got '2 hi'", "local variable"),
    "lesson1_no_handle": ("there is no `handle`", "answers each line"),
    "lesson1_no_import": ("cannot be imported: ModuleNotFoundError", "Try it alone"),
    "lesson1_no_await": ("got 'nothing in 3 s'", "without `await`, in line 5"),
    "lesson1_not_async": ("write `async def handle(…)`", ""),
    "lesson1_one_line_only": ("got 'the end of the connection'", "Stay in the loop"),
    "lesson1_raises": ("Bob said 'hello'", "Your handler raised TypeError"),
    "lesson2_drains": ("had not returned", "A drain would wait"),
    "lesson2_leaks": ("its listener is still open", "in a nursery of your own"),
    "lesson2_leaves_a_task": ("left task trio.sleep_forever", "your own nursery"),
    "lesson2_no_cancel": ("had not returned", "cancel it"),
    "lesson3_one_after_the_other": ("was not called in 3 s", "nursery.start"),
    "lesson3_swallows": ("its error did not come out", "Do not catch it"),
    "lesson3_too_early": ("started was given None", "list of servers"),
    "lesson4_a_timeout_per_line": ("after 8 s", "adds up"),
    "lesson4_around_everything": ("a minute after her login", "where the login ends"),
    "lesson4_newline_twice": ("got ''", "its newline already"),
    "lesson5_around_the_loop": ("After the error Ada said 'cake'", "inside of the loop"),
    "lesson5_not_caught": ("for which left raises", "KeyError"),
    "lesson5_one_after_the_other": ("got 'nothing in 3 s'", "start both in a nursery"),
    "lesson6_rejects": ("wanted 'busy'", "overflow="),
    "lesson6_too_few": ("One of the first three", "max_connections=3"),
    "lesson6_waits": ("got 'nothing in 3 s'", "By default it waits"),
    "lesson7_all_idle": ("then it sent '5678'", "no idle wait"),
    "lesson7_old_data": ("more than 65,536 bytes", "must be empty before"),
    "lesson7_unmarked": ("an idle client waited", "conn.idle()"),
    "lesson8_no_policy": ("sent half a line", "trio_policy"),
    "lesson8_nothing_noted": ("`cut` was []", "except compat.RequestCut"),
    "lesson8_stdlib": ("is no compat.ThreadingTCPServer", "import triosock.compat"),
    "lesson9_looks_first": ("were sold", "no `await` in between"),
    "lesson9_notes_later": ("had not been noted", "first"),
    "lesson9_no_await": ("had not been noted", "without `await`, in line 5"),
    "lesson9_never_sold_out": ("they were told", "or 'sold out'"),
    "lesson9_raises": ("it raised AttributeError", "Look at line 5 of "),
    "lesson10_impatient": ("sent its rest", "do not end a handler that is busy"),
    "lesson10_no_await": ("no process could serve", "inherited_listeners()`; and `await"),
    "lesson10_own_port": ("got 'nothing in 3 s'", "inherited_listeners"),
    "lesson10_unmarked": ("an idle client waited", "conn.lines()"),
    "lesson11_after_the_loop": ("was cancelled, and `ended` was", "is no Exception"),
    "lesson11_blocks": ("meanwhile nobody was served", "compat.blocking("),
    "lesson11_exception_only": ("have ended, and `ended` was []", "finally:"),
    "lesson11_swallows": ("Cyd sent half a line", "let `trio.Cancelled` pass"),
    "lesson11_threads": ("is no compat.GreenTCPServer", "class Server("),
}
RIGHT = sorted(path.stem for path in SOLUTIONS.glob("*.py") if "_right" in path.stem)


def verdict(name, capsys):
    code = check.main([name.split("_")[0], str(SOLUTIONS / f"{name}.py")])
    return code, capsys.readouterr().out


def test_every_solution_is_looked_at_and_every_lesson_has_both_kinds():
    names = {path.stem for path in SOLUTIONS.glob("*.py")}
    assert names == set(RIGHT) | set(WRONG)
    for kind in (RIGHT, WRONG):
        assert {name.split("_")[0] for name in kind} == set(EXERCISES)


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_solution(name, capsys):
    code, out = verdict(name, capsys)
    assert (code, out.split(".")[0]) == (0, f"{name.split('_')[0]}: right"), out


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_solution_is_told_what_is_wrong(name, capsys):
    code, out = verdict(name, capsys)
    what, hint = WRONG[name]
    first, said, hinted = out.split("\n", 2)
    assert code == 1
    assert first == f"{name.split('_')[0]}: not yet."
    assert what in said
    assert hint in hinted


def test_the_line_is_named_also_if_the_file_was_given_by_a_relative_path(capsys, monkeypatch):
    monkeypatch.chdir(SOLUTIONS)
    assert check.main(["lesson9", "lesson9_raises.py"]) == 1
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


def test_it_is_a_command():
    command = [sys.executable, "-m", "examples.tutorial.check", "lesson1", SOLUTIONS / "lesson1_right.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("lesson1: right.")
