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
