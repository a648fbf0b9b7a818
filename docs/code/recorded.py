"""A program whose run can be stepped through."""

import sys

import trio

from triosock.observe import Recorder


async def worker(name):
    await trio.sleep(0.1)
    if name == "second":
        raise ValueError("the second worker has had enough")
    await trio.sleep(1)


async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker, "first")
        nursery.start_soon(worker, "second")


def run_recorded(path):
    with Recorder() as recorder:
        try:
            trio.run(main)
        finally:
            recorder.write_html(path)


if __name__ == "__main__":
    run_recorded(sys.argv[1])
