"""A graceful deploy: SIGTERM while a client is in the middle of an upload.

The first signal drains: new connections are refused, idle ones end at once, busy ones have `grace` seconds
to finish. Then the process prints its report and exits with 0, as a service manager expects. A second signal
ends everything at once.

    python examples/05_deploy.py
    nc localhost 9999                   put 5; in a third window: kill -TERM and the number that was printed;
                                        now type four letters and Enter: you still get your answer
"""

import hashlib
import logging
import os
import sys

import triosock


async def take_uploads(conn):
    async for line in conn.lines(max_bytes=80):
        match line.split():
            case [b"put", size] if size.isdigit() and int(size) <= 1_000_000:
                await conn.send_all(b"go on\n")
                data = await conn.receive_exactly(int(size))  # part of the same request: a drain waits for it
                await conn.send_all(b"sha256 " + hashlib.sha256(data).hexdigest().encode() + b"\n")
            case _:
                await conn.send_all(b"error: say: put SIZE\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    grace = float(sys.argv[2]) if sys.argv[2:] else 30
    print("process", os.getpid(), flush=True)
    report = triosock.run(triosock.serve_tcp, take_uploads, port, host="localhost", grace=grace)
    print("every connection finished" if report and report.clean else "some connections were cut")
