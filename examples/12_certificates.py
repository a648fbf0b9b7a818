"""Certificates: one for each name, and renewal without a restart.

The server name that the client sends selects the certificate. Replace the files: they are checked, and if
they are good the next handshake uses them, while no connection is cut. Bad files are logged and not used.
Without a folder this makes one with untrusted certificates, with trustme.

    python examples/12_certificates.py    (with a folder: python examples/12_certificates.py 9999 FOLDER)
    openssl s_client -quiet -servername shop.example -connect localhost:9999
"""

import logging
import pathlib
import sys
import tempfile

import triosock
from triosock import CertificateFiles, Certificates

NAMES = ["example.org", "shop.example"]


async def tell(conn):
    await conn.send_all(f"you asked for {conn.tls.server_name}\n".encode())


def make_files(folder):
    import trustme

    for name in NAMES:
        trustme.CA().issue_cert(name).private_key_and_cert_chain_pem.write_to_path(
            str(folder / f"{name}.pem")
        )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(sys.argv[2] if sys.argv[2:] else made)
        if str(folder) == made:
            make_files(folder)
        files = [CertificateFiles(folder / f"{name}.pem") for name in NAMES]
        certificates = Certificates(*files, check_every=1)
        triosock.run(triosock.serve_tcp, tell, port, host="localhost", name="names", tls=certificates)
