"""Collects syslog messages (RFC 5424 and its predecessor RFC 3164), and prints the severe ones.

A burst of messages must not use unbounded memory. At most 10,000 wait; then the oldest are dropped, since
the newest matter most, and at its end the program prints the number of dropped ones.

    python examples/datagrams/syslog_collector.py
    logger -n localhost -P 9999 -d -p user.err "the disk is full"
"""

import logging
import re
import sys

import trio

import triosock

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
PRIORITY = re.compile(rb"<(\d{1,3})>(.*)", re.DOTALL)


async def collect(datagram):
    match = PRIORITY.fullmatch(datagram.data)
    if match is None or int(match[1]) > 191:  # 23 facilities and 8 severities: RFC 5424, 6.2.1
        return
    severity = int(match[1]) % 8
    if severity <= SEVERITIES.index("err"):
        cut = " (cut)" if datagram.truncated else ""
        print(f"{SEVERITIES[severity]}{cut}: {match[2].decode(errors='replace').rstrip()}", flush=True)


async def main(port):
    limits = triosock.Limits(max_pending_datagrams=10_000, drop="oldest")
    async with trio.open_nursery() as nursery:

        async def serve(task_status):
            options = {"host": "localhost", "name": "syslog", "limits": limits, "max_bytes": 8_192}
            await triosock.serve_udp(collect, port, task_status=task_status, **options)

        server = await nursery.start(serve)
    seen = server.statistics()
    print(f"{seen.handled} handled, {dict(seen.dropped)} dropped, {seen.lost} lost in the kernel")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    triosock.run(main, int(sys.argv[1]) if sys.argv[1:] else 9999)
