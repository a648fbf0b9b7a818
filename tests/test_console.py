"""What run() says on stderr: where its servers listen and how they ended, and nothing twice."""

from __future__ import annotations

import logging
import re
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import trio

import triosock
from tests.handlers import shout
from triosock import compat
from triosock.compat.requests.table import request_table_of
from triosock.compat.requests.tracking import Tracking
from triosock.testing import MemoryListener

LISTENS = r"listens on tcp://127\.0\.0\.1:(\d+)\n"
DRAINED = r"tcp://127\.0\.0\.1:\d+: drained in \S+ s: 0 finished, .*, 0 refused\n"


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The library's logger, at INFO, with what is done to it undone."""
    logger = logging.getLogger("triosock")
    before = logger.level, logger.propagate, list(logger.handlers)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield logger
    logger.level, logger.propagate, logger.handlers = before
    logger.manager._clear_cache()  # type: ignore[attr-defined]


async def serve(*, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
    """A server that gets SIGTERM as soon as it listens."""
    async with trio.open_nursery() as nursery:
        task_status.started(await nursery.start(partial(triosock.serve_tcp, shout, 0, host="127.0.0.1")))
        signal.raise_signal(signal.SIGTERM)


def test_it_says_where_it_listens_and_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    triosock.run(serve)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(LISTENS + DRAINED, err), err


def test_it_can_be_silent(capsys: pytest.CaptureFixture[str]) -> None:
    triosock.run(serve, announce=False)
    assert capsys.readouterr() == ("", "")


def test_a_log_at_info_that_somebody_keeps_says_both_and_only_once(
    capsys: pytest.CaptureFixture[str], logger: logging.Logger
) -> None:
    logger.addHandler(logging.StreamHandler(sys.stderr))
    triosock.run(serve)
    _, err = capsys.readouterr()
    assert len(re.findall("listens on", err)) == 1
    assert len(re.findall(" drained in ", err)) == 1


@pytest.mark.parametrize(
    "handler",
    [None, logging.NullHandler, lambda: _at(logging.WARNING)],
    ids=["no handler", "null handler", "a handler for warnings"],
)
def test_a_log_that_nobody_keeps_says_nothing(
    capsys: pytest.CaptureFixture[str], logger: logging.Logger, handler: Callable[[], logging.Handler] | None
) -> None:
    # pytest adds its own, when the test begins.
    logger.handlers = [] if handler is None else [handler()]
    triosock.run(serve)
    _, err = capsys.readouterr()
    assert re.fullmatch(LISTENS + DRAINED, err), err


def _at(level: int) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)
    return handler


def test_those_that_were_cut_last_are_told_although_there_is_a_log(
    capsys: pytest.CaptureFixture[str], logger: logging.Logger
) -> None:
    logger.addHandler(logging.StreamHandler(sys.stderr))

    async def hang(conn: triosock.Connection) -> None:
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep_forever()

    async def main() -> None:
        listener = MemoryListener()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(triosock.serve_listeners, hang, [listener])
            client = await listener.connect()
        await client.aclose()

    triosock.run(main, grace=0)
    _, err = capsys.readouterr()
    assert re.search(r"1 cancelled, 0 refused\n  .*: .* after \S+ s, at .* in hang\n", err), err


def test_a_compat_server_is_announced_too(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        server = compat.ThreadingTCPServer(("127.0.0.1", 0), compat.BaseRequestHandler)
        async with trio.open_nursery() as nursery:
            await nursery.start(compat.serve, server)
            signal.raise_signal(signal.SIGTERM)

    triosock.run(main)
    _, err = capsys.readouterr()
    assert re.match(r"ThreadingTCPServer: listens on tcp://127\.0\.0\.1:\d+\n", err), err


def test_what_nobody_can_connect_to_is_not_announced(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(triosock.serve_listeners, shout, [MemoryListener()])
            server.drain()

    triosock.run(main)
    assert capsys.readouterr().err == ""


def test_only_a_person_is_told_what_ctrl_c_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    triosock.run(serve)
    first, _ = capsys.readouterr().err.split("\n", 1)
    assert first.endswith(" (Ctrl-C drains, a second one cancels)")


@pytest.mark.parametrize("stderr", [None, "closed"])
def test_no_stderr_ends_nothing(monkeypatch: pytest.MonkeyPatch, stderr: Any, tmp_path: Any) -> None:
    gone = None
    if stderr:
        gone = (tmp_path / "gone").open("w")
        gone.close()
    monkeypatch.setattr(sys, "stderr", gone)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", None)  # print() takes this one for None
        assert triosock.run(serve) is None


def test_a_stderr_that_only_writes_is_enough(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Sink:
        written = ""

        def write(self, text: str) -> None:
            self.written += text

    sink = Sink()
    monkeypatch.setattr(sys, "stderr", sink)
    triosock.run(serve)
    assert re.fullmatch(LISTENS + DRAINED, sink.written), sink.written
    assert capsys.readouterr().err == ""


def test_the_requests_of_a_compat_server_need_no_supervision_for_it() -> None:
    async def main() -> Tracking:
        with compat.ThreadingTCPServer(("127.0.0.1", 0), compat.BaseRequestHandler) as server:
            return request_table_of(server).tracking

    assert triosock.run(main) is Tracking.NONE


def test_other_runs_of_trio_are_not_its_business(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        await trio.to_thread.run_sync(trio.run, elsewhere)

    async def elsewhere() -> None:
        async with trio.open_nursery() as nursery:
            (await nursery.start(triosock.serve_tcp, shout, 0)).drain()

    triosock.run(main)
    assert capsys.readouterr().err == ""
    trio.run(elsewhere)
    assert capsys.readouterr().err == ""
