"""What every numbered example owes its reader."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

from tests.programs import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))
MOST_LINES = 35


def count_lines(text: str) -> int:
    """Return the lines of code: neither blank nor of the module's docstring; comments count."""
    docstring = ast.parse(text).body[0]
    outside = text.splitlines()[docstring.end_lineno :]
    return sum(bool(line.strip()) for line in outside)


def test_they_are_numbered_from_one_on():
    assert [path.name[:3] for path in EXAMPLES] == [f"{number:02}_" for number in range(1, len(EXAMPLES) + 1)]
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_each_is_short_says_what_to_try_and_is_tested(path: pathlib.Path):
    text = path.read_text()
    assert count_lines(text) <= MOST_LINES
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring is not None
    assert f"    python examples/{path.name}" in docstring
    assert re.search(
        r"^    .*\b(nc (-N )?localhost 9999|curl http://|openssl s_client)", docstring, re.MULTILINE
    )
    tests = pathlib.Path(__file__).with_name("test_numbered.py").read_text()
    assert re.search(rf'(running|server_program)\("examples/{path.name}"', tests)
