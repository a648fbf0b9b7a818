"""The same with a mistake in every line of `main`: triosock's types must be seen (.ci/legacy-typing)."""

import triosock


async def main(server: triosock.StreamServer) -> None:
    server.drain(grace="soon")
    print((await server.wait_closed()).finished + "1")
    await triosock.serve_tcp(5, 0)
