"""The code of the guide to rates."""

from __future__ import annotations

from typing import Any

from tests.handlers import shout
from tests.servers import connected


async def test_who_asks_too_often_is_told_when_to_ask_again(load: Any, autojump_clock: Any) -> None:
    code = load("rates")
    async with connected(shout, **code.OPTIONS) as (_, client):
        await client.send_all(b"hello\n" * 21)
        for _ in range(20):
            assert await client.receive_until(b"\n") == b"HELLO\n"
        assert await client.receive_until(b"\n") == b"too fast, ask again in 0.1 s\n"
        assert await client.receive_some() == b""
    assert code.DATAGRAM_LIMITS.datagram_rate.burst == 20_000
