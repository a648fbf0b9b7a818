"""The daytime protocol (RFC 867, over UDP): every datagram is answered with the time.

The handler is called once for each datagram, in its own task. The reply has the address as its source to
which the datagram was sent.

    python examples/datagrams/daytime.py
    echo | nc -u -w 1 localhost 9999
"""

import datetime
import logging
import sys

import triosock


async def tell_time(datagram):
    now = datetime.datetime.now(datetime.UTC)
    await datagram.reply(now.strftime("%A, %B %d, %Y %H:%M:%S-UTC\r\n").encode())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    triosock.run(triosock.serve_udp, tell_time, port, host="localhost", name="daytime")
