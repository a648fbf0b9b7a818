"""The exercise of the lesson about simulation; its check runs simulated worlds."""

from __future__ import annotations

from typing import Any

import trio

from triosock import Connection
from triosock.testing.simulation import Faults, SimulationFailed, World, simulate

from .verdict import Wrong, causes

SELL = """Lesson 9: write an async function `sell(conn, office)`. Each line is a buyer's name. If
`office.left`, the number of tickets, is not 0, this buyer gets one: lower `office.left` by one, record the
name with `await office.note(name)`, which takes a while, and only then answer "sold". Without a ticket the
answer is "sold out". However many buyers come at once, no more tickets are sold than there are."""

SEEDS = 200


class Office:
    """What `sell` is given."""

    def __init__(self, tickets: int) -> None:
        self.left = tickets
        self.noted: list[bytes] = []

    async def note(self, name: bytes) -> None:
        """Record a name."""
        await trio.sleep(0.5)
        self.noted.append(bytes(name).strip())


def check_sell(solution: Any) -> None:
    """Simulate with many seeds; the first that fails gives the verdict."""

    async def many_buyers(world: World) -> None:
        await _many_buyers(world, solution)

    try:
        simulate(many_buyers, seeds=SEEDS, faults=Faults(latency=1.0), shrink=0, max_seconds=60)
    except SimulationFailed as failure:
        cause = causes(failure.__cause__ or failure)[0]
        if isinstance(cause, Wrong):
            raise Wrong(f"with seed {failure.seed}, {cause.what}", cause.hint) from cause
        raise cause from None


async def _many_buyers(world: World, solution: Any) -> None:
    tickets, count = world.integer(1, 3), world.integer(1, 5)
    office, told = Office(tickets), dict[bytes, bytes]()

    async def handle(conn: Connection) -> None:
        await solution.sell(conn, office)

    server = await world.serve(handle)

    async def buy(name: bytes) -> None:
        conn = await world.connect(server)
        await conn.send_all(name + b"\n")
        answer = await conn.receive_until(b"\n")
        if answer == b"sold\n" and name not in office.noted:
            raise Wrong(
                f"{name.decode()} was told 'sold' and had not been noted", "`await office.note(…)` first."
            )
        told[name] = answer

    for number in range(count):
        world.client(buy, b"buyer%d" % number)

    world.check(lambda: _compare(list(told.values()), min(tickets, count), count, tickets))


def _compare(answers: list[bytes], wanted: int, buyers: int, tickets: int) -> None:
    sold = answers.count(b"sold\n")
    came = f"{buyers} buyers came for {tickets} tickets"
    if sold > wanted:
        hint = "Check `office.left` and lower it with no `await` in between: then no other task can."
        raise Wrong(f"{came}, and {sold} were sold", hint)
    if sold < wanted or answers.count(b"sold out\n") != buyers - wanted:
        raise Wrong(f"{came}, and they were told {answers}", "Answer each with 'sold' or 'sold out'.")
