"""What the page about overload shows does what it says."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.docs.units import DEPLOY
from tests.handlers import ask
from tests.servers import connected
from triosock import AdaptiveLimit
from triosock.cli.config_file import read_config
from triosock.testing import open_server


@pytest.fixture
def page(load: Any) -> Any:
    return load("overload")


async def heard(served: Any) -> bytes:
    client = await served.connect()
    await client.send_all(b"a\n")
    answer: bytes = await client.receive_some()
    await client.aclose()
    await trio.testing.wait_all_tasks_blocked()
    return answer


async def test_new_ones_and_requests_are_told_that_it_is_busy(
    page: Any, mock_clock: trio.testing.MockClock
) -> None:
    async with connected(page.answer, limits=page.late) as (served, old):
        for _ in range(2):
            assert await heard(served) == b"A\n"
            mock_clock.jump(1)
            await trio.testing.wait_all_tasks_blocked()
        assert await heard(served) == b"busy, try again\n"
        assert await ask(old, b"a\n") == b"busy\n"
        await old.aclose()


async def test_a_fourth_one_is_too_many_at_first(page: Any) -> None:
    async with open_server(page.answer, limits=page.found) as served:
        inside = [await served.connect() for _ in range(3)]
        assert await heard(served) == b"busy, try again\n"
        for client in inside:
            await client.aclose()


def test_the_configuration_file_is_one() -> None:
    (endpoint,) = read_config(DEPLOY / "overload.toml").endpoints
    assert endpoint.limits.max_lag == 0.2
    assert endpoint.limits.adaptive == AdaptiveLimit(max_connections=200)
