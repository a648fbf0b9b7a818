"""The control socket: for its owner only, and read-only."""

from __future__ import annotations

import json
import os
import stat

import pytest
import trio

import triosock
from triosock import PeerCredentials
from triosock.observe import Node, serve_control, snapshot
from triosock.observe.control import parse_tree


async def ask(path, *lines: bytes) -> list[bytes]:
    async with triosock.Connection(await trio.open_unix_socket(path)) as conn:
        await conn.send_all(b"".join(line + b"\n" for line in lines))
        await conn.send_eof()
        return [line async for line in conn.lines(max_bytes=10_000_000)]


async def test_it_shows_the_tree_of_the_run_itself_included(control):
    (answer,) = await ask(control, b'{"want": "tree"}')
    node = parse_tree(answer)
    assert [(one.kind, one.state) for one in node.walk()] == [
        ("run", ""),
        ("server", "serving"),
        ("listener", "open"),
        ("connection", "working"),
        ("request", ""),
    ]


async def test_a_snapshot_is_the_same_after_it_was_sent(control):
    node = snapshot()
    import attrs

    assert parse_tree(json.dumps({"tree": attrs.asdict(node)})) == node


async def test_the_socket_is_its_owners_alone_and_gone_at_the_end(tmp_path):
    path = tmp_path / "control"
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, path)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        nursery.cancel_scope.cancel()
    assert not path.exists()


async def test_another_user_gets_nothing(control, monkeypatch):
    mine = os.geteuid()
    monkeypatch.setattr(triosock.Connection, "credentials", lambda self: PeerCredentials(1, mine + 1, 1))
    assert await ask(control, b'{"want": "tree"}') == []
    monkeypatch.setattr(
        triosock.Connection, "credentials", lambda self: PeerCredentials(1, 0 if mine else 1, 1)
    )
    assert await ask(control, b'{"want": "tree"}') == []


@pytest.mark.parametrize(
    ("request_line", "says"),
    [
        (b"tree", "a request is a JSON object in one line"),
        (b"\xff", "a request is a JSON object in one line"),
        (b"[" * 999, "a request is a JSON object in one line"),
        (b"[]", "the only request is"),
        (b'{"want": "drain"}', "the only request is"),
        (b'{"do": "drain"}', "verbs are not allowed at this control socket"),
        (b'{"want": "tree", "limit": -1}', "limit must be an int"),
        (b'{"want": "tree", "limit": true}', "limit must be an int"),
        (b'{"want": "tree", "limit": "1"}', "limit must be an int"),
    ],
)
async def test_whatever_else_is_asked_is_an_error_and_the_next_question_is_answered(
    control, request_line, says
):
    wrong, right = await ask(control, request_line, b'{"want": "tree", "limit": 1}')
    assert says in json.loads(wrong)["error"]
    assert parse_tree(right).kind == "run"


@pytest.mark.parametrize(
    "line", ["{}", "[]", "1", '{"tree": {}}', '{"tree": {"children": 3}}', "no", '{"error": "x"}']
)
def test_what_is_no_tree_is_a_value_error(line):
    with pytest.raises(ValueError, match=r"."):
        parse_tree(line)


async def test_a_request_that_is_too_long_gets_no_answer(control):
    answers = await ask(control, b'{"want": "tree", "x": "' + b"y" * 2_000 + b'"}')
    assert answers == []


def test_a_node_is_frozen():
    with pytest.raises(AttributeError):
        Node(kind="run").kind = "server"  # type: ignore[misc]
