"""Observability: an access log, a JSON log, traces, and the watch for a blocked loop."""

import logging
import sys

import trio

import triosock
from triosock import observe
from triosock.observe.telemetry import OpenTelemetryObserver


async def shout(conn):
    async for line in conn.lines():
        await conn.send_all(line.upper())


async def with_access_log(port, path):
    async with observe.LineWriter(path) as write:
        access = observe.AccessLog(write, format='$remote_addr [$time_local] $cause $bytes_sent "$error"')
        await triosock.serve_tcp(shout, port, host="localhost", observers=[access])


async def with_traces(port):
    async with OpenTelemetryObserver() as telemetry:
        await triosock.serve_tcp(shout, port, host="localhost", observers=[telemetry])


async def with_a_watch(port):
    with observe.watch_blocked_loop(0.5):
        await triosock.serve_tcp(shout, port, host="localhost")


def log_as_json():
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(observe.JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


if __name__ == "__main__":
    log_as_json()
    trio.run(with_access_log, 9999, "access.log")
