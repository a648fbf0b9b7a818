import asyncio


async def shout(reader, writer):
    try:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
    finally:
        writer.close()
        await writer.wait_closed()


async def main():
    server = await asyncio.start_server(shout, "127.0.0.1", 9999)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
