"""service_actions(), the interval, and the selector."""

from __future__ import annotations

import selectors
import time
from typing import Any

import pytest

from tests.differential.harness import (
    SERVERS,
    Log,
    Serving,
    ask,
    compared,
    echo,
    make_address,
)


@pytest.mark.parametrize("kind", SERVERS)
@compared
def test_idle_ticks_come_at_the_interval(module: Any, log: Log, kind: str) -> Any:
    ticks: list[float] = []

    class Server(getattr(module, kind)):  # type: ignore[misc]
        def service_actions(self) -> None:
            ticks.append(time.monotonic())
            super().service_actions()
            if len(ticks) == 4:
                self._BaseServer__shutdown_request = True

    with Server(make_address(kind), print) as server:
        began = time.monotonic()
        Serving(server, interval=0.05).join()
    # Never early; how late is a matter of the machine.
    return len(ticks), [tick - began >= 0.049 * number for number, tick in enumerate(ticks, 1)]


@pytest.mark.parametrize("interval", [0, -1, 0.0])
@compared
def test_an_interval_of_nothing_never_waits(module: Any, log: Log, interval: Any) -> Any:
    ticks = [0]

    class Server(module.ThreadingTCPServer):  # type: ignore[misc]
        def service_actions(self) -> None:
            ticks[0] += 1
            if ticks[0] == 3:
                self._BaseServer__shutdown_request = True

    with Server(("127.0.0.1", 0), print) as server:
        return Serving(server, interval=interval).join()


@pytest.mark.parametrize("interval", ["soon", [], object])
@compared
def test_an_interval_that_is_none(module: Any, log: Log, interval: Any) -> Any:
    found = []
    for kind in (module.TCPServer, module.ThreadingTCPServer, module.ForkingTCPServer):
        with kind(("127.0.0.1", 0), print) as server:
            found.append(Serving(server, interval=interval).join())
    return found


@pytest.mark.parametrize("kind", SERVERS)
@compared
def test_without_an_interval_it_blocks_until_a_request(module: Any, log: Log, kind: str) -> Any:
    served = [0]

    class Server(getattr(module, kind)):  # type: ignore[misc]
        def process_request(self, request: Any, client_address: Any) -> None:
            served[0] += 1
            self._BaseServer__shutdown_request = served == [2]
            super().process_request(request, client_address)

    with Server(make_address(kind), echo(module)) as server:
        serving = Serving(server, interval=None)
        answers = [ask(server, b"x"), ask(server, b"y")]
        return answers, serving.join(), served


@pytest.mark.parametrize("replacement", ["SelectSelector", "DefaultSelector"])
@pytest.mark.parametrize("kind", SERVERS)
@compared
def test_another_selector_is_used_as_it_is(
    module: Any, log: Log, kind: str, replacement: str, monkeypatch: pytest.MonkeyPatch
) -> Any:
    calls: list[Any] = []

    class Recording(getattr(selectors, replacement)):  # type: ignore[misc]
        def register(self, fileobj: Any, events: Any, data: Any = None) -> Any:
            calls.append(("register", type(fileobj).__name__, events))
            return super().register(fileobj, events, data)

        def select(self, timeout: Any = None) -> Any:
            calls.append(("select", timeout))
            return super().select(timeout)

        def close(self) -> None:
            calls.append("close")
            super().close()

    class Server(getattr(module, kind)):  # type: ignore[misc]
        def service_actions(self) -> None:
            self._BaseServer__shutdown_request = True

    with monkeypatch.context() as patch:
        patch.setattr(module, "_ServerSelector", Recording)
        with Server(make_address(kind), echo(module)) as server:
            Serving(server, interval=0.01).join()
    return calls
