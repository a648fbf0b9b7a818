"""The script that holds packages against compat: what it reads, what it calls a new failure, and what it puts
in place. No package is installed here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.packages import stand_in
from tests.packages.compare import differs, judge
from tests.packages.outcomes import from_junit, from_unittest
from tests.packages.table import PACKAGES


def test_a_new_failure_passed_in_every_run_before_and_in_none_after() -> None:
    before = [{"a": "passed", "b": "passed", "c": "failed"}, {"a": "passed", "b": "passed", "c": "failed"}]
    after = [{"a": "passed", "b": "error", "c": "failed"}, {"a": "passed", "b": "failed", "c": "failed"}]
    verdict = judge(before, after, servers=7)
    assert (verdict.stdlib, verdict.compat, verdict.total, verdict.servers) == (2, 1, 3, 7)
    assert verdict.new == ["b"]
    assert verdict.unsteady == []


def test_a_test_that_passes_in_some_runs_is_unsteady_and_no_new_failure() -> None:
    verdict = judge([{"a": "passed"}, {"a": "passed"}], [{"a": "failed"}, {"a": "passed"}])
    assert verdict.new == []
    assert verdict.unsteady == ["a"]


def test_a_test_that_is_not_reported_any_more_is_a_new_failure() -> None:
    assert judge([{"a": "passed"}], [{}]).new == ["a"]


def test_skipped_and_failing_tests_on_both_sides_are_no_difference() -> None:
    assert not differs({"a": "failed", "b": "skipped"}, {"a": "error", "b": "skipped"})
    assert differs({"a": "passed"}, {"a": "skipped"})


def test_outcomes_are_read_from_junit_and_the_worse_of_two_reports_counts(tmp_path: Path) -> None:
    file = tmp_path / "outcomes.xml"
    file.write_text(
        """<testsuites><testsuite>
        <testcase classname="m.C" name="passes"/>
        <testcase classname="m.C" name="fails"><failure/></testcase>
        <testcase classname="m.C" name="skips"><skipped/></testcase>
        <testcase classname="m.C" name="torn down badly"/>
        <testcase classname="m.C" name="torn down badly"><error/></testcase>
        </testsuite></testsuites>"""
    )
    assert from_junit(file) == {
        "m.C::passes": "passed",
        "m.C::fails": "failed",
        "m.C::skips": "skipped",
        "m.C::torn down badly": "error",
    }


def test_a_run_that_wrote_nothing_has_no_outcomes(tmp_path: Path) -> None:
    assert from_junit(tmp_path / "absent.xml") == {}


def test_outcomes_are_read_from_the_lines_of_unittest(tmp_path: Path) -> None:
    program = tmp_path / "suite.py"
    program.write_text(
        textwrap.dedent(
            """
            import unittest
            class Case(unittest.TestCase):
                def test_passes(self): pass
                def test_told(self):
                    "Has a docstring."
                def test_fails(self): self.fail()
                def test_breaks(self): raise OSError
                @unittest.skip("why")
                def test_skips(self): pass
            unittest.main()
            """
        )
    )
    said = subprocess.run([sys.executable, program, "-v"], capture_output=True, text=True).stderr
    outcomes = {name.partition(" ")[0]: outcome for name, outcome in from_unittest(said).items()}
    assert outcomes == {
        "test_passes": "passed",
        "test_told": "passed",
        "test_fails": "failed",
        "test_breaks": "error",
        "test_skips": "skipped",
    }


_SERVES = """
import http.server, socketserver
class Own(socketserver.UDPServer):
    def server_bind(self):
        super().server_bind()
http.server.HTTPServer(("127.0.0.1", 0), None).server_close()
Own(("127.0.0.1", 0), None).server_close()
import socket
with socket.socket() as other:
    other.bind(("127.0.0.1", 0))
print(socketserver.__file__)
"""


@pytest.mark.parametrize(("wanted", "module"), [("0", "socketserver.py"), ("1", "compat/__init__.py")])
def test_the_stand_in_decides_and_counts_what_servers_bind(wanted: str, module: str, tmp_path: Path) -> None:
    bound = tmp_path / "bound"
    program = f"import runpy; runpy.run_path({stand_in.__file__!r})\n{_SERVES}"
    environment = os.environ | {"STAND_IN_FOR_SOCKETSERVER": wanted, "SERVERS_BOUND": str(bound)}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip().endswith(module)
    assert bound.read_bytes() == b".."


def test_every_package_is_pinned_and_in_the_table_once() -> None:
    names = [package.name for package in PACKAGES]
    assert len(set(names)) == len(names)
    assert all(package.version[0].isdigit() and package.tests for package in PACKAGES)
