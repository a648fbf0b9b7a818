"""Runs modules of CPython's own test suite in this process and prints what became of each test, as JSON.

Arguments: "stdlib", "compat", or "green" (compat, with every threading server green); then
modules of the package `test`, or (with a slash) module/test id, to run
only that.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import unittest


class Outcomes(unittest.TestResult):
    """Only what became of each test."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, str] = {}
        self.details: dict[str, str] = {}

    def _note(self, test: unittest.TestCase, outcome: str, detail: str = "") -> None:
        # The worst of several counts: a test can pass and then fail in its clean-up.
        if self.outcomes.get(test.id()) not in ("failed", "error"):
            self.outcomes[test.id()] = outcome
            self.details[test.id()] = detail

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self._note(test, "passed")

    def addFailure(self, test: unittest.TestCase, err: object) -> None:
        self._note(test, "failed", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]

    def addError(self, test: unittest.TestCase, err: object) -> None:
        self._note(test, "error", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: object) -> None:
        if err is not None:
            self._note(test, "failed", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self._note(test, "skipped", reason)


def flatten(suite: unittest.TestSuite) -> list[unittest.TestCase]:
    """Return the tests of a suite and of the suites in it."""
    tests: list[unittest.TestCase] = []
    for one in suite:
        tests.extend(flatten(one) if isinstance(one, unittest.TestSuite) else [one])
    return tests


def keep(suite: unittest.TestSuite, wanted: str | None) -> unittest.TestSuite:
    """Drop the tests that talk to public servers, and all but the one wanted; module fixtures stay."""
    return unittest.TestSuite(
        test
        for test in flatten(suite)
        if type(test).__name__
        not in ("NetworkedTests", "NetworkTestCase", "NetworkedTestSSL", "RemoteIMAPTest")
        and not type(test).__name__.startswith("RemoteIMAP")
        and (wanted is None or test.id() == wanted)
    )


def main() -> None:
    """Run, and print one line of JSON."""
    which, *modules = sys.argv[1:]
    if which != "stdlib":
        import triosock.compat

        triosock.compat.install()
    if which == "green":
        from triosock.compat import loading
        from triosock.compat.requests import table

        loading.green()
        table.all_green = True
    import socketserver

    from test import support

    used = socketserver.__name__  # some of the tests take modules out again
    # "network" stands for sockets of any kind, loopback too; not given: "cpu", "largefile" and the like.
    support.use_resources = ["network"]
    report = Outcomes()
    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for name in modules:
        module, _, wanted = name.partition("/")
        loaded = importlib.import_module(f"test.{module}")
        suite = unittest.defaultTestLoader.loadTestsFromModule(loaded)
        keep(suite, wanted or None).run(report)

    with os.fdopen(out, "w") as stream:
        json.dump({"module": used, "outcomes": report.outcomes, "details": report.details}, stream)
        stream.flush()
    # Some of these tests leave threads behind, of no concern here.
    os._exit(0)


if __name__ == "__main__":
    main()
