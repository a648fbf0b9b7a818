"""The wrong solutions that the tests check, with what is said of them, and the texts of all of them.

Each stands under its name, a piece of the verdict and a piece of the hint: either as what it has in place of
what in its lesson's right solution, or whole if it shares little with that.
"""

from __future__ import annotations

import textwrap

from tests.tutorial.right_solutions import RIGHT

_TABLE = {
    ("lesson1_global_counter", "got '2 hi'", "local variable"): {
        "async def": "number = 0\n\n\nasync def",
        "    number = 0": "    global number",
    },
    ("lesson1_no_handle", "there is no `handle`", "answers each line"): "async def serve(conn):\n    pass\n",
    ("lesson1_no_import", "cannot be imported: ModuleNotFoundError", "Try it alone"): (
        "import nothing_of_this_name  # noqa: F401\n"
    ),
    ("lesson1_no_await", "got 'nothing in 3 s'", "without `await`, in line 5"): {
        "number = 0": "count = 0",
        "number += 1": "count += 1",
        "await conn.send_all": "conn.send_all",
        "(number, line)": "(count, line)",
    },
    ("lesson1_not_async", "write `async def handle(…)`", ""): r"""
        def handle(conn):
            conn.send_all(b"1 hello\n")
    """,
    ("lesson1_one_line_only", "got 'the end of the connection'", "Stay in the loop"): r"""
        async def handle(conn):
            line = await conn.receive_until(b"\n")
            await conn.send_all(b"1 " + line)
    """,
    ("lesson1_raises", "Bob said 'hello'", "Your handler raised TypeError"): """
        async def handle(conn):
            async for line in conn.lines():
                await conn.send_all("1 " + line)
    """,
    ("lesson2_drains", "had not returned", "A drain would wait"): {
        "await nursery.start": "server = await nursery.start",
        "nursery.cancel_scope.cancel()": "server.drain()",
    },
    ("lesson2_leaks", "its listener is still open", "in a nursery of your own"): {
        "    async with trio.open_nursery() as nursery:\n    ": "",
        "await nursery.start": "trio.lowlevel.spawn_system_task",
        "    await stop.wait()\n        nursery.cancel_scope.cancel()": "await stop.wait()",
    },
    ("lesson2_leaves_a_task", "left task trio.sleep_forever", "your own nursery"): {
        "as nursery:\n": "as nursery:\n        trio.lowlevel.spawn_system_task(trio.sleep_forever)\n"
    },
    ("lesson2_no_cancel", "had not returned", "cancel it"): {"        nursery.cancel_scope.cancel()\n": ""},
    ("lesson3_one_after_the_other", "was not called in 3 s", "nursery.start"): """
        import triosock


        async def serve_all(handler, doors, task_status):
            servers = []
            for door in doors:
                server = await triosock.serve_listeners(handler, door)
                servers.append(server)
            task_status.started(servers)
    """,
    ("lesson3_swallows", "its error did not come out", "Do not catch it"): {
        "servers = [": "for door in doors:\n            try:\n                servers.append(",
        " for door in doors]": ")\n            except Exception:\n                pass",
        "    async with": "    servers = []\n    async with",
    },
    ("lesson3_too_early", "started was given None", "list of servers"): {
        "servers = [await nursery.start(triosock.serve_listeners, handler, door) for door in doors]": (
            "for door in doors:\n            nursery.start_soon(triosock.serve_listeners, handler, door)"
        ),
        "started(servers)": "started()",
    },
    ("lesson4_a_timeout_per_line", "after 8 s", "adds up"): {
        "with trio.move_on_after(10) as time_limit:": "try:\n        with trio.fail_after(10):",
        '    name = await conn.receive_until(b"\\n")\n': (
            '        name = await conn.receive_until(b"\\n")\n        with trio.fail_after(10):\n    '
        ),
        "if time_limit.cancelled_caught:": "except trio.TooSlowError:",
    },
    ("lesson4_around_everything", "a minute after her login", "where the login ends"): r"""
        import trio


        async def login(conn):
            try:
                with trio.fail_after(10):
                    name = await conn.receive_until(b"\n")
                    await conn.receive_until(b"\n")
                    await conn.send_all(b"welcome " + name)
                    async for line in conn.lines():
                        await conn.send_all(line)
            except trio.TooSlowError:
                await conn.send_all(b"too slow\n")
    """,
    ("lesson4_newline_twice", "got ''", "its newline already"): {
        "import trio\n": "import triosock\n",
        "with trio.move_on_after(10) as time_limit:": "try:\n        async with conn.request(timeout=10):",
        "    name = await": "        name = await",
        "    await conn.receive_until": "        await conn.receive_until",
        "if time_limit.cancelled_caught:": "except triosock.RequestTimedOut:",
        '"welcome " + name': '"welcome " + name + b"\\n"',
    },
    ("lesson5_around_the_loop", "After the error Ada said 'cake'", "inside of the loop"): r"""
        import trio


        async def answer(conn, left, right):
            found = {}

            async def ask(side, line):
                found[side] = await side(line)

            try:
                async for line in conn.lines():
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(ask, left, line)
                        nursery.start_soon(ask, right, line)
                    await conn.send_all(found[left] + b" " + found[right] + b"\n")
            except Exception:
                await conn.send_all(b"error\n")
    """,
    ("lesson5_not_caught", "for which left raises", "KeyError"): r"""
        import trio


        async def answer(conn, left, right):
            found = {}

            async def ask(side, line):
                found[side] = await side(line)

            async for line in conn.lines():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask, left, line)
                    nursery.start_soon(ask, right, line)
                await conn.send_all(found[left] + b" " + found[right] + b"\n")
    """,
    ("lesson5_one_after_the_other", "got 'nothing in 3 s'", "start both in a nursery"): r"""
        async def answer(conn, left, right):
            async for line in conn.lines():
                try:
                    await conn.send_all(await left(line) + b" " + await right(line) + b"\n")
                except Exception:
                    await conn.send_all(b"error\n")
    """,
    ("lesson6_rejects", "wanted 'busy'", "overflow="): (
        'import triosock\n\nOPTIONS = {"limits": triosock.Limits(max_connections=3, overflow="reject")}\n'
    ),
    ("lesson6_too_few", "One of the first three", "max_connections=3"): {"connections=3": "connections=2"},
    ("lesson6_waits", "got 'nothing in 3 s'", "By default it waits"): (
        'import triosock\n\nOPTIONS = {"limits": triosock.Limits(max_connections=3)}\n'
    ),
    ("lesson7_all_idle", "then it sent '5678'", "no idle wait"): """
        async def handle(conn):
            while True:
                data = b""
                while len(data) < 8:
                    more = b""
                    with conn.idle():
                        more = await conn.receive_some(8 - len(data))
                    if not more:
                        return
                    data += more
                await conn.send_all(data[::-1])
    """,
    ("lesson7_old_data", "more than 65,536 bytes", "must be empty before"): """
        async def handle(conn):
            while True:
                with conn.idle():
                    data = await conn.receive_exactly(8)
                await conn.send_all(data[::-1])
    """,
    ("lesson7_unmarked", "an idle client waited", "conn.idle()"): """
        async def handle(conn):
            while True:
                data = await conn.receive_exactly(8)
                await conn.send_all(data[::-1])
    """,
    ("lesson8_no_policy", "sent half a line", "trio_policy"): {
        "try:\n            for": "for",
        "    self.wfile": "self.wfile",
        "        except compat.RequestCut:\n            cut.append(self.client_address)\n": "",
        "trio_policy = compat.Policy(request_timeout=1.0)": "pass",
    },
    ("lesson8_nothing_noted", "`cut` was []", "except compat.RequestCut"): {
        "cut.append(self.client_address)": "pass"
    },
    ("lesson8_stdlib", "is no compat.ThreadingTCPServer", "import triosock.compat"): {
        "from triosock import compat": "import socketserver",
        "compat.Stream": "socketserver.Stream",
        "compat.Threading": "socketserver.Threading",
        "try:\n            for": "for",
        "    self.wfile": "self.wfile",
        "        except compat.RequestCut:\n            cut.append(self.client_address)\n": "",
        "trio_policy = compat.Policy(request_timeout=1.0)": "pass",
    },
    ("lesson9_looks_first", "were sold", "no `await` in between"): {
        "office.left -= 1\n            await office.note(name)": (
            "await office.note(name)\n            office.left -= 1"
        ),
    },
    ("lesson9_notes_later", "had not been noted", "first"): {
        'await office.note(name)\n            await conn.send_all(b"sold\\n")': (
            'await conn.send_all(b"sold\\n")\n            await office.note(name)'
        ),
    },
    ("lesson9_no_await", "had not been noted", "without `await`, in line 5"): {"await office": "office"},
    ("lesson9_never_sold_out", "they were told", "or 'sold out'"): {"sold out": "sorry"},
    ("lesson9_raises", "it raised AttributeError", "Look at line 5 of "): {"office.note": "office.write"},
    ("lesson10_impatient", "sent its rest", "do not end a handler that is busy"): {
        "import triosock\n\n": "import trio\n\nimport triosock\n\n",
        "await triosock.serve_listeners(": (
            "with triosock.DrainScope() as scope:\n"
            "        async with trio.open_nursery() as nursery:\n"
            "            await nursery.start(triosock.serve_listeners, "
        ),
        "inherited_listeners())\n": (
            "inherited_listeners())\n"
            "            await scope.wait_draining()\n"
            "            nursery.cancel_scope.cancel()\n"
        ),
    },
    ("lesson10_no_await", "no process could serve", "inherited_listeners()`; and `await"): {
        "await triosock.serve_listeners": "triosock.serve_listeners"
    },
    ("lesson10_own_port", "got 'nothing in 3 s'", "inherited_listeners"): {
        "serve_listeners(handle, triosock.inherited_listeners())": 'serve_tcp(handle, 0, host="127.0.0.1")'
    },
    ("lesson10_unmarked", "an idle client waited", "conn.lines()"): {
        "async for line in conn.lines():\n": (
            'buffer = b""\n'
            "    while data := await conn.receive_some():\n"
            '        *lines, buffer = (buffer + data).split(b"\\n")\n'
            "        for line in lines:\n    "
        ),
        "line.strip()": "line",
    },
    ("lesson11_after_the_loop", "was cancelled, and `ended` was", "is no Exception"): {
        "try:\n            for": "for",
        "    self.wfile": "self.wfile",
        "finally:\n            ended": "ended",
    },
    ("lesson11_blocks", "meanwhile nobody was served", "compat.blocking("): {
        "compat.blocking(self.server.lookup, line)": "self.server.lookup(line)"
    },
    ("lesson11_exception_only", "have ended, and `ended` was []", "finally:"): {
        "finally": "except Exception"
    },
    ("lesson11_swallows", "Cyd sent half a line", "let `trio.Cancelled` pass"): {
        "try:\n            for line in self.rfile:\n": (
            "while True:\n"
            "            try:\n"
            "                if not (line := self.rfile.readline()):\n"
            "                    break\n"
        ),
        "        finally:": "            except BaseException:\n                pass",
        "            ended": "        ended",
    },
    ("lesson11_threads", "is no compat.GreenTCPServer", "class Server("): {
        "compat.blocking(self.server.lookup, line)": "self.server.lookup(line)",
        "GreenTCPServer": "ThreadingTCPServer",
    },
}
#: A piece of the verdict and a piece of the hint, by the name of the wrong solution.
WRONG = {name: told for name, *told in _TABLE}


def text(name):
    """Return the text of a solution."""
    what = RIGHT[name] if name in RIGHT else _TABLE[name, *WRONG[name]]
    if isinstance(what, str):
        return textwrap.dedent(what).lstrip("\n")
    made = text(name.split("_")[0] + "_right")
    for old, new in what.items():
        assert made.count(old) == 1, f"{name}: {old!r} is to stand once in {made!r}"
        made = made.replace(old, new)
    return made


def write(folder, name):
    """Write a solution into a file of its name, and return its path."""
    path = folder / f"{name}.py"
    path.write_text(text(name), "utf-8")
    return path
