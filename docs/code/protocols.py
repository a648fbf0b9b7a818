"""One port, and a handler for each protocol that ALPN may choose."""


async def http2(conn):
    await conn.send_all(b"HTTP/2 goes here\n")


async def http1(conn):
    await conn.send_all(b"HTTP/1.1 goes here\n")


handlers = {
    "h2": http2,
    "http/1.1": http1,
    None: http1,  # who agrees on neither
}
