import triosock


async def say_busy(conn):
    await conn.send_all(b"busy\n")


OPTIONS = {"limits": triosock.Limits(max_connections=2, overflow=say_busy)}
