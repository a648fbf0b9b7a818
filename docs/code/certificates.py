"""A server with several certificates, which it reloads on SIGHUP."""

import logging
import signal
import sys

import trio

import triosock
from triosock import CertificateFiles, CertificateRefused, Certificates


def load(folder):
    """One for each of two shops, and one for clients that ask for neither."""
    return Certificates(
        CertificateFiles(f"{folder}/default.pem", f"{folder}/default.key"),
        CertificateFiles(f"{folder}/shop.pem", f"{folder}/shop.key"),
        CertificateFiles(
            f"{folder}/books.pem", f"{folder}/books.key", names=["books.example", "*.books.example"]
        ),
    )


async def reload_on_hangup(certificates, task_status=trio.TASK_STATUS_IGNORED):
    """Load the files anew at each SIGHUP. Bad ones are told, and change nothing."""
    with trio.open_signal_receiver(signal.SIGHUP) as arriving:
        task_status.started()
        async for _ in arriving:
            try:
                certificates.reload()
            except CertificateRefused as error:
                logging.error("%s", error)


async def tell(conn):
    await conn.send_all(f"you asked for {conn.tls.server_name}\n".encode())


async def main(folder):
    certificates = load(folder)
    async with trio.open_nursery() as nursery:
        await nursery.start(reload_on_hangup, certificates)
        await triosock.serve_tcp(tell, 0, host="127.0.0.1", name="shops", tls=certificates)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    triosock.run(main, sys.argv[1])
