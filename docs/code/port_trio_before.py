import trio


async def shout(stream):
    buffer = b""
    async for chunk in stream:
        buffer += chunk
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            await stream.send_all(line.upper() + b"\n")


if __name__ == "__main__":
    trio.run(trio.serve_tcp, shout, 9999)
