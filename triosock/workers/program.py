"""The program of a worker if `serve_workers` was given ``module:function``: ``python -m
triosock.workers.program``.

Rule: it does only what a user's own script would do, `triosock.run(function)`.
"""

from __future__ import annotations

import faulthandler
import importlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from .. import run


def main(argv: list[str]) -> None:
    """Run the function that the one argument names, until it is drained."""
    # The parent sends SIGABRT to a worker whose event loop is blocked; the handler prints its stacks.
    faulthandler.enable()
    number = os.environ.get("TRIOSOCK_WORKER", "?")
    logging.basicConfig(level="INFO", format=f"%(asctime)s %(levelname)s worker {number}: %(message)s")
    run(_find(*argv[0].split(":")))


def _find(module: str, path: str) -> Callable[[], Awaitable[object]]:
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    function: Callable[[], Awaitable[object]] = found
    return function


if __name__ == "__main__":
    main(sys.argv[1:])
