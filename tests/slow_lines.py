"""pytest -p tests.slow_lines --slow-lines SEED: some lines of the library are slow, others in each test.

A race between threads, or between a parent and its child, shows only if one side stops in the wrong place,
which happens on a busy machine, now and then. With this plugin one line of fifty (chosen by the seed, the
test and the line) takes a tenth of a second, at most a dozen times in a test; what fails is said with the
lines that were slow. Python 3.12 or newer: it is built on `sys.monitoring`.
"""

from __future__ import annotations

import sys
import threading
import time
import zlib
from collections.abc import Generator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

monitoring: Any = vars(sys)["monitoring"]
TOOL = 4  # a number that no debugger, profiler or coverage tool takes

LIBRARY = f"{Path(__file__).resolve().parent.parent / 'triosock'}/"
ONE_OF = 50
SECONDS = 0.12
AT_MOST = 12

#: As it was: tests replace it.
_sleep = time.sleep


class SlowLines:
    """The callback of `sys.monitoring`, and what it did in the current test."""

    def __init__(self, seed: int, folders: tuple[str, ...]) -> None:
        self.seed = seed
        self.folders = tuple(LIBRARY + folder for folder in folders)
        self.test = ""
        self.slow: list[str] = []

    def line(self, code: CodeType, number: int) -> Any:
        """Called for each line that begins, in any thread and in forked children."""
        if not code.co_filename.startswith(self.folders):
            return monitoring.DISABLE
        if self.test and len(self.slow) < AT_MOST:
            where = f"{code.co_filename.removeprefix(LIBRARY)}:{number}"
            if zlib.crc32(f"{self.seed} {self.test} {where}".encode()) % ONE_OF == 0:
                self.slow.append(f"{where} in {threading.current_thread().name}")
                _sleep(SECONDS)
        return None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.slow, self.test = [], item.nodeid
        try:
            return (yield)
        finally:
            self.test = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed:
            report.sections.append(("slow lines", "\n".join(self.slow)))
        return report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow-lines", type=int, default=1, metavar="SEED")
    parser.addoption("--slow-folders", default="compat/", help="of the library, with commas")


def pytest_configure(config: pytest.Config) -> None:
    folders = config.getoption("--slow-folders").split(",")
    slow_lines = SlowLines(config.getoption("--slow-lines"), tuple(folders))
    config.pluginmanager.register(slow_lines)
    monitoring.use_tool_id(TOOL, "slow lines")
    monitoring.register_callback(TOOL, monitoring.events.LINE, slow_lines.line)
    monitoring.set_events(TOOL, monitoring.events.LINE)


def pytest_unconfigure() -> None:
    monitoring.set_events(TOOL, 0)
