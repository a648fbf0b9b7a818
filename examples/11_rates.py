"""Rates: a limit of connections and requests per second for each client.

A client may connect five times at once, and once a second after that; further connections get an answer from
`sorry`. On a connection, two requests a second are answered: a third raises `RateExceeded`, and the handler
says when to try again. Without `request_overflow="reject"` it would wait until it is due.

    python examples/11_rates.py         (another port: python examples/11_rates.py 9999)
    yes hello | head -4 | nc localhost 9999
"""

import logging
import sys

import triosock
from triosock import Limits, Rate


async def answer(conn):
    try:
        async for line in conn.lines():
            await conn.send_all(line.upper())
    except triosock.RateExceeded as error:
        await conn.send_all(b"ask again in %.1f s\n" % error.retry_after)


async def sorry(conn):
    await conn.send_all(b"you come too often\n")


LIMITS = Limits(
    rate_per_peer=Rate(1, per=1, burst=5),
    request_rate_per_peer=Rate(2, per=1),
    request_overflow="reject",
    overflow=sorry,
)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    triosock.run(triosock.serve_tcp, answer, port, host="localhost", name="rates", limits=LIMITS)
