"""The right solutions of the exercises, whole."""

from __future__ import annotations

RIGHT = {
    "lesson1_right": """
        async def handle(conn):
            number = 0
            async for line in conn.lines():
                number += 1
                await conn.send_all(b"%d %s" % (number, line))
    """,
    "lesson2_right": """
        import trio

        import triosock


        async def serve_until(stop, handler, listeners):
            async with trio.open_nursery() as nursery:
                await nursery.start(triosock.serve_listeners, handler, listeners)
                await stop.wait()
                nursery.cancel_scope.cancel()
    """,
    "lesson3_right": """
        import trio

        import triosock


        async def serve_all(handler, doors, task_status):
            async with trio.open_nursery() as nursery:
                servers = [await nursery.start(triosock.serve_listeners, handler, door) for door in doors]
                task_status.started(servers)
    """,
    "lesson4_right": r"""
        import trio


        async def login(conn):
            with trio.move_on_after(10) as time_limit:
                name = await conn.receive_until(b"\n")
                await conn.receive_until(b"\n")
            if time_limit.cancelled_caught:
                await conn.send_all(b"too slow\n")
                return
            await conn.send_all(b"welcome " + name)
            async for line in conn.lines():
                await conn.send_all(line)
    """,
    "lesson5_right": r"""
        import trio


        async def answer(conn, left, right):
            async for line in conn.lines():
                found = {}

                async def ask(side, line=line, found=found):
                    found[side] = await side(line)

                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(ask, left)
                        nursery.start_soon(ask, right)
                except Exception:
                    await conn.send_all(b"error\n")
                else:
                    await conn.send_all(found[left] + b" " + found[right] + b"\n")
    """,
    "lesson6_right": r"""
        import triosock


        async def say_busy(conn):
            await conn.send_all(b"busy\n")


        OPTIONS = {"limits": triosock.Limits(max_connections=3, overflow=say_busy)}
    """,
    "lesson7_right": """
        import triosock


        async def handle(conn):
            async for data in conn.frames(triosock.FixedSize(8)):
                await conn.send_all(data[::-1])
    """,
    "lesson7_right_with_idle": """
        async def handle(conn):
            while True:
                first = b""
                with conn.idle():
                    first = await conn.receive_some(8)
                if not first:
                    return
                data = first + await conn.receive_exactly(8 - len(first))
                await conn.send_all(data[::-1])
    """,
    "lesson8_right": """
        from triosock import compat

        cut = []


        class Handler(compat.StreamRequestHandler):
            def handle(self):
                try:
                    for line in self.rfile:
                        self.wfile.write(line.upper())
                except compat.RequestCut:
                    cut.append(self.client_address)


        class Server(compat.ThreadingTCPServer):
            trio_policy = compat.Policy(request_timeout=1.0)
    """,
    "lesson9_right": r"""
        async def sell(conn, office):
            async for name in conn.lines():
                if office.left:
                    office.left -= 1
                    await office.note(name)
                    await conn.send_all(b"sold\n")
                else:
                    await conn.send_all(b"sold out\n")
    """,
    "lesson9_right_with_a_lock": r"""
        import weakref

        import trio

        locks = weakref.WeakKeyDictionary()


        async def sell(conn, office):
            lock = locks.setdefault(office, trio.Lock())
            async for name in conn.lines():
                async with lock:
                    if office.left:
                        await office.note(name)
                        office.left -= 1
                        answer = b"sold\n"
                    else:
                        answer = b"sold out\n"
                await conn.send_all(answer)
    """,
    "lesson10_right": r"""
        import triosock


        async def handle(conn):
            async for line in conn.lines():
                await conn.send_all(line.strip()[::-1] + b"\n")


        async def worker():
            await triosock.serve_listeners(handle, triosock.inherited_listeners())
    """,
    "lesson11_right": """
        from triosock import compat

        ended = []


        class Handler(compat.StreamRequestHandler):
            def handle(self):
                try:
                    for line in self.rfile:
                        self.wfile.write(compat.blocking(self.server.lookup, line))
                finally:
                    ended.append(self.client_address)


        class Server(compat.GreenTCPServer):
            pass
    """,
    "lesson11_right_in_finish": """
        from triosock import compat

        ended = []


        class Handler(compat.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    self.wfile.write(compat.blocking(self.server.lookup, line))

            def finish(self):
                ended.append(self.client_address)
                super().finish()


        class Server(compat.GreenTCPServer):
            pass
    """,
}
