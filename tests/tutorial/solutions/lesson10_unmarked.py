import triosock


async def handle(conn):
    buffer = b""
    while data := await conn.receive_some():
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            await conn.send_all(line[::-1] + b"\n")


async def worker():
    await triosock.serve_listeners(handle, triosock.inherited_listeners())
