"""Only two services may ask, and the answer depends on which one does."""

from triosock.identity import check_client


async def answer(conn):
    who = check_client(conn, "billing.internal", "reports.internal")
    await conn.send_all(f"hello {who}\n".encode())
