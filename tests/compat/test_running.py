"""The servers of these tests end within a bound, whatever a failed test has left."""

from __future__ import annotations

from typing import Any

import pytest

from tests.waiting import eventually, threads_named


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer"])
def test_clients_that_are_still_open_are_closed(start: Any, lines: Any, kind: str) -> None:
    running = start(kind, lines)
    client = running.dial(b"one\n")
    assert client.recv(10) == b"ONE\n"
    running.stop()
    assert client.fileno() == -1
    assert not running.thread.is_alive()


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_child_that_has_a_copy_of_its_client_is_killed_and_told(
    start: Any, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start("ForkingTCPServer", lines)
    with running.dial(b"one\n") as client:
        assert client.recv(10) == b"ONE\n"
        assert eventually(lambda: running.server.active_children)
    running.shutdown()
    running.join()
    with monkeypatch.context() as patch:
        patch.setattr("tests.waiting.PATIENCE", 0.1)  # it would wait for ever
        with pytest.raises(AssertionError, match="has not ended"):
            running.stop()
    assert eventually(lambda: not running.server.active_children)
    for thread in threads_named("bounded call"):
        thread.join(20)
