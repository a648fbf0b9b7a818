"""STARTTLS: a plain-text protocol in which the client may switch to TLS."""


def make_handler(context):
    async def shout(conn):
        async for line in conn.lines():
            if line == b"STARTTLS\n":
                await conn.send_all(b"go on\n")
                await conn.start_tls(context)
            elif conn.tls is None:
                await conn.send_all(b"say STARTTLS first\n")
            else:
                await conn.send_all(line.upper())

    return shout
