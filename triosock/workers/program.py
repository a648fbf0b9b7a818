"""The program of a worker if `serve_workers` was given ``module:function``: ``python -m
triosock.workers.program``.

Rule: it does only what a user's own script would do: it sets up the log and faulthandler, and calls
`triosock.run(function)`.
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
    print_stacks_if_blocked()
    number = os.environ.get("TRIOSOCK_WORKER", "?")
    logging.basicConfig(level="INFO", format=f"%(asctime)s %(levelname)s worker {number}: %(message)s")
    run(_find(*argv[0].split(":")))


def print_stacks_if_blocked() -> None:
    """Print the stacks of all threads on stderr, if there is one, when the parent ends this worker because
    its event loop is blocked: it sends SIGABRT.
    """
    if sys.stderr is not None:  # a closed one
        faulthandler.enable()


def _find(module: str, path: str) -> Callable[[], Awaitable[object]]:
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    function: Callable[[], Awaitable[object]] = found
    return function


if __name__ == "__main__":
    main(sys.argv[1:])
