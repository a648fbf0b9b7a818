"""A game server: each player is a session, and ten times a second all players get all positions.

A player sends `left`, `right`, `up` or `down`, and leaves after five seconds without a datagram, or with
`quit`. One task for each player reads, and one task sends to all: UDP may lose datagrams, so the whole state
is sent each time, without an acknowledgement.

    python examples/datagrams/arena.py
    nc -u localhost 9999                in two windows
"""

import logging
import sys

import trio

import triosock

MOVES = {b"left": (-1, 0), b"right": (1, 0), b"up": (0, -1), b"down": (0, 1)}
players = {}  # session: [x, y]


async def play(session):
    players[session] = [0, 0]
    try:
        async for data in session:
            if data.strip() == b"quit":
                return
            dx, dy = MOVES.get(data.strip(), (0, 0))
            players[session][0] += dx
            players[session][1] += dy
    finally:
        del players[session]


async def tick():
    while True:
        state = " ".join(f"{session.id}:{x},{y}" for session, (x, y) in players.items())
        for session in list(players):
            try:
                await session.send(state.encode() + b"\n")
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # its session ends when it has been idle for five seconds
        await trio.sleep(0.1)


async def main(port):
    sessions = triosock.Sessions(idle=5, max=64, buffer=16)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await triosock.serve_udp(play, port, host="localhost", name="arena", sessions=sessions)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    triosock.run(main, int(sys.argv[1]) if sys.argv[1:] else 9999)
