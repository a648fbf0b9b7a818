"""Only two services are accepted, and the answer depends on the service."""

from triosock.identity import check_client


async def answer(conn):
    who = check_client(conn, "billing.internal", "reports.internal")
    await conn.send_all(f"hello {who}\n".encode())
