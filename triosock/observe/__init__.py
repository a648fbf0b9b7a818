"""Those who are told: consumers of the events of `triosock._core.events`, which is all that they know of the core.

`LogObserver` writes them to the standard library's logging; every server has one.
"""

from .log import LogObserver as LogObserver

__all__ = ["LogObserver"]
