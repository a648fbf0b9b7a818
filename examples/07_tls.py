"""TLS: a server needs only a context.

The handshake runs in the connection's own task, under `Timeouts.handshake`: a client that connects and sends
nothing delays no other. Without files this makes an untrusted certificate for "localhost" with trustme, for
testing only.

    python examples/07_tls.py           (with files: python examples/07_tls.py 9999 certificate.pem key.pem)
    openssl s_client -quiet -connect localhost:9999
"""

import logging
import ssl
import sys

import triosock


async def shout(conn):
    await conn.send_all(f"this is {conn.tls.version} with {conn.tls.cipher}\n".encode())
    async for line in conn.lines():
        await conn.send_all(line.upper())


def make_context(files):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if files:
        context.load_cert_chain(*files)
    else:
        import trustme

        trustme.CA().issue_cert("localhost").configure_cert(context)
    return context


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    context = make_context(sys.argv[2:4])
    triosock.run(triosock.serve_tcp, shout, port, host="localhost", name="tls", tls=context)
