"""The asyncio streams server, on uvloop's event loop."""

from __future__ import annotations

import uvloop

from .asyncio_streams import main

if __name__ == "__main__":
    main(uvloop.run)
