async def serve(conn):
    pass
