"""A certificate for each name, and a handler that reads the client's server name."""


def choose(contexts, default):
    """Return a context that answers with the certificate of the name that the client asks for."""

    def pick(connection, name, context):
        connection.context = contexts.get(name, default)

    default.sni_callback = pick
    return default


async def tell(conn):
    await conn.send_all(f"you asked for {conn.tls.server_name}\n".encode())
