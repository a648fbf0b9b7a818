"""CPython's own tests, with triosock.compat in the place of socketserver, and with tasks in the place of
threads: they pass where they pass with the stdlib's.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("test.support") is None, reason="this Python came without its tests"
    ),
]

DRIVER = Path(__file__).with_name("cpython_driver.py")
MODULES = (
    "test_socketserver", "test_httpservers", "test_xmlrpc", "test_docxmlrpc", "test_wsgiref", "test_logging",
    "test_urllib2_localnet", "test_imaplib", "test_ssl", "test_pydoc", "test_robotparser",
)  # fmt: skip
#: Most of the time of the two long ones is spent asleep, so they run beside the others.
GROUPS = (
    ("test_ssl",),
    ("test_xmlrpc",),
    tuple(name for name in MODULES if name not in ("test_ssl", "test_xmlrpc")),
)
TIMEOUT = 400

#: Tests that cannot pass with any other module, and why.
EXCLUDED = {
    "test.test_socketserver.MiscTestCase.test_all": (
        "collects the names whose __module__ is the word 'socketserver' and compares them with __all__"
    ),
}


def start(which: str, *modules: str, folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(DRIVER.parents[2]), "PYTHONWARNINGS": "default"}
    return subprocess.Popen(
        [sys.executable, str(DRIVER), which, *modules],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, err[-5000:]
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture(scope="module")
def compat(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of all tests with compat."""
    return outcomes_of("compat", tmp_path_factory.mktemp("cpython"))


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of all tests with compat, if every threading server is green."""
    return outcomes_of("green", tmp_path_factory.mktemp("green"))


def outcomes_of(which: str, folder: Path) -> dict[str, Any]:
    processes = [start(which, *group, folder=folder / group[0]) for group in GROUPS]
    found: dict[str, Any] = {"outcomes": {}, "details": {}}
    for process in processes:
        one = finish(process)
        assert one["module"] == "triosock.compat"
        found["outcomes"].update(one["outcomes"])
        found["details"].update(one["details"])
    return found


@pytest.mark.parametrize("which", ["compat", "green"])
@pytest.mark.parametrize("module", MODULES)
def test_passes_what_the_standard_library_passes(
    module: str, which: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if which == "green":
        pytest.importorskip("greenlet")
    compat: dict[str, Any] = request.getfixturevalue(which)
    outcomes = {test: what for test, what in compat["outcomes"].items() if test.startswith(f"test.{module}.")}
    assert outcomes
    bad = [test for test, what in outcomes.items() if what in ("failed", "error") and test not in EXCLUDED]
    for test in bad:
        # It may fail with the standard library too: for want of a resource, or of this machine.
        with_stdlib = finish(start("stdlib", f"{module}/{test}", folder=tmp_path / "stdlib"))
        assert with_stdlib["outcomes"].get(test) in ("failed", "error"), compat["details"][test]


@pytest.mark.parametrize("test", EXCLUDED)
def test_what_is_excluded_does_fail(test: str, compat: dict[str, Any]) -> None:
    assert compat["outcomes"][test] == "failed"


def test_most_of_them_were_really_run(compat: dict[str, Any]) -> None:
    passed = sum(what == "passed" for what in compat["outcomes"].values())
    assert passed > 500, compat["outcomes"]
