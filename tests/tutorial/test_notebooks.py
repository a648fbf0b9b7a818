"""The lessons as notebooks: made from pages and files, and executed as Jupyter executes them."""

from __future__ import annotations

import ast
import base64
import json
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from examples.tutorial import notebooks
from examples.tutorial.course import COURSE
from tests.tutorial import solutions
from tests.tutorial.test_lessons import expected

HERE = pathlib.Path(__file__).parent


def cells(notebook, kind):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("name", COURSE)
def test_a_notebook_has_all_of_the_lessons_code_and_nothing_of_sphinx(name):
    made = notebooks.notebook(name)
    code = "\n".join(cells(made, "code"))
    lesson = ast.parse((notebooks.LESSONS / f"{name}.py").read_text("utf-8"))
    for node in lesson.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            assert len(re.findall(rf"^(?:async )?(?:def|class) {node.name}\b", code, re.M)) == 1
    words = "\n".join(cells(made, "markdown"))
    assert COURSE[name].title in words
    assert COURSE[name].afterwards[0] in words
    assert not re.search(r":::|```\{|\]\(|:pyobject:", words)
    assert f"%%solution {name}\n" in code
    assert len({cell["id"] for cell in made["cells"]}) == len(made["cells"])


def test_they_are_written_by_a_command(tmp_path):
    command = [sys.executable, "-m", "examples.tutorial.notebooks", tmp_path / "new"]
    done = subprocess.run(command, cwd=notebooks.ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"{len(COURSE)} notebooks in " in done.stdout
    assert {path.stem for path in (tmp_path / "new").glob("*.ipynb")} == set(COURSE)
    wrong = subprocess.run(command[:-1], cwd=notebooks.ROOT, capture_output=True, text=True, timeout=60)
    assert (wrong.returncode, wrong.stderr[:6]) == (2, "usage:")


@pytest.mark.slow
@pytest.mark.parametrize("name", COURSE)
def test_it_runs_in_jupyter_and_shows_its_picture(name, tmp_path):
    for module in ("nbclient", "ipykernel"):
        pytest.importorskip(module, exc_type=ImportError)
    made = notebooks.notebook(name)
    for cell in made["cells"]:
        if cell["source"].startswith("%%solution"):
            cell["source"] = f"%%solution {name}\n{solutions.text(f'{name}_right')}"
    path = tmp_path / f"{name}.ipynb"
    path.write_text(json.dumps(made), "utf-8")
    command = [sys.executable, HERE / "execute.py", path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    outputs = [
        output for cell in json.loads(path.read_text("utf-8"))["cells"] for output in cell.get("outputs", ())
    ]
    printed = "".join("".join(one["text"]) for one in outputs if one.get("name") == "stdout").splitlines()
    wanted = expected(name)[:-1]  # the last line is about the file of the picture
    for line, pattern in zip(printed, wanted, strict=False):
        assert re.fullmatch(pattern, line)
    assert printed[len(wanted)].startswith(f"{name}: right.")
    assert printed[len(wanted) + 1 :] == ["b'olleh\\n'"]
    pictures = ["".join(one["data"]["text/html"]) for one in outputs if one["output_type"] == "display_data"]
    assert len(pictures) == 2
    for html in pictures:
        (svg,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
        assert xml.etree.ElementTree.fromstring(base64.b64decode(svg)).tag.endswith("svg")
        assert "&quot;run&quot;" in html  # the page of steps, in its frame
    assert [one for one in outputs if one["output_type"] == "error"] == []
    assert list(tmp_path.iterdir()) == [path]
