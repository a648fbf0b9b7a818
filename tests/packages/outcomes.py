"""What a run of tests said: the outcome of each test by its name, read from JUnit's XML or from the lines of
`unittest -v`.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

#: The outcome of each test: "passed", "failed", "error" or "skipped".
Outcomes = dict[str, str]

_UNITTEST = re.compile(r"^(\w+ \([\w.]+\))(?:\n.*)? \.\.\. .*?(ok|FAIL|ERROR|skipped)\b", re.MULTILINE)
_WORDS = {"ok": "passed", "FAIL": "failed", "ERROR": "error", "skipped": "skipped"}


def from_junit(file: Path) -> Outcomes:
    """Read what pytest and others write. A test that is reported twice, for its call and for what came after
    it, keeps the worse of the two outcomes.
    """
    found: Outcomes = {}
    if not file.exists():
        return found
    for case in ElementTree.parse(file).iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        found[name] = _worse(found.get(name, "skipped"), _outcome(case))
    return found


def from_unittest(text: str) -> Outcomes:
    """Read the lines of `unittest` at its second verbosity."""
    return {name: _WORDS[word] for name, word in _UNITTEST.findall(text)}


def _outcome(case: ElementTree.Element) -> str:
    for tag, outcome in (("error", "error"), ("failure", "failed"), ("skipped", "skipped")):
        if case.find(tag) is not None:
            return outcome
    return "passed"


def _worse(one: str, other: str) -> str:
    return max(one, other, key=["skipped", "passed", "failed", "error"].index)
