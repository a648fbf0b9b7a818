"""The tree as text: every node a line, and nothing that a peer chose reaches the terminal as it is."""

from __future__ import annotations

import io

import trio.testing

from triosock import MemoryAddress
from triosock.observe import Node, format_tree, tree
from triosock.testing import open_server

NODE = Node(
    kind="run",
    name="process 7",
    children=(
        Node(
            kind="server",
            name="shop",
            state="serving",
            age=75.0,
            counts=(("active", 2), ("idle", 0), ("accepted", 12_000)),
            more=1_500,
            children=(
                Node(kind="listener", name="tcp://[::1]:80", state="open"),
                Node(
                    kind="connection",
                    name="3",
                    peer="tcp://[::1]:9",
                    state="working",
                    age=0.25,
                    due=-1.5,
                    due_to="Timeouts.request",
                    where="shop.py:3 in work",
                    children=(Node(kind="request", age=0.2, due=9.75, due_to="conn.request()"),),
                ),
            ),
        ),
        Node(kind="scope", name="DrainScope", state="open"),
    ),
)


def test_every_node_is_a_line_with_what_is_known_of_it():
    assert format_tree(NODE).splitlines() == [
        "run process 7",
        "├─ server shop · serving · 1 min 15 s · 2 active · 12,000 accepted",
        "│  ├─ listener tcp://[::1]:80 · open",
        "│  ├─ connection 3 of tcp://[::1]:9 · working · 250 ms · overdue for 1.5 s (Timeouts.request)"
        " · at shop.py:3 in work",
        "│  │  └─ request · 200 ms · due in 9.75 s (conn.request())",
        "│  └─ … and 1,500 more",
        "└─ scope DrainScope · open",
    ]


async def test_it_is_printed_to_stderr_or_to_a_file(autojump_clock, capsys):
    async def idle(conn):
        await conn.receive_some()

    async with open_server(idle, name="shop") as server:
        await server.connect(peer=MemoryAddress("\x1b[2Jbad\nname\u202e"))
        await trio.testing.wait_all_tasks_blocked()
        tree(server.server)
        said = capsys.readouterr().err
        file = io.StringIO()
        tree(server.server, file=file)
        assert capsys.readouterr() == ("", "")
    assert said == file.getvalue()
    assert said.startswith("server shop · serving")
    assert "\\x1b[2Jbad\\nname\\u202e" in said
    assert len(said.splitlines()) == 3
