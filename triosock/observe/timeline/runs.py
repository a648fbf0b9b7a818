"""Identifies the current trio run: each run has its own clock."""

from __future__ import annotations

import trio


def this_run() -> object:
    """Return an object that identifies the current trio run; None outside of a run."""
    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None
