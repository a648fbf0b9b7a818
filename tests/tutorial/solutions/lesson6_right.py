import triosock


async def say_busy(conn):
    await conn.send_all(b"busy\n")


OPTIONS = {"limits": triosock.Limits(max_connections=3, overflow=say_busy)}
