"""The asyncio protocols server on uvloop's event loop; for datagrams, which asyncio's streams do not have."""

from __future__ import annotations

import uvloop

from .asyncio_protocols import main

if __name__ == "__main__":
    main(uvloop.run)
