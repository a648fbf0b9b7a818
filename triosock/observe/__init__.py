"""Observers, which receive the events of servers, and inspection of a running program.

log           events as records of the standard library's logging; every server has it
access_log    a line for each connection or request that has ended, in a format or as JSON
json_log      records of logging as JSON
line_writer   writes lines to a file, in a thread
stats         counts events
metrics       counts events for Prometheus (the extra `metrics`; not imported here)
telemetry     traces and metrics by OpenTelemetry's API (the extra `opentelemetry`; not imported here)
blocked_loop  reports tasks that block the event loop, with their stacks
timeline/     draws a run as a picture: HTML, SVG, Chrome trace
stepping/     records a run to step through, forwards and backwards: HTML
treeview      prints the live tree of servers and connections; `snapshot()` returns it as values
inspection    lets `python -m triosock top --pid` inspect this process; peek collects the answer
control       serves the live tree at a Unix socket, for `python -m triosock top`
health        answers health checks by HTTP (the extra `health`)

The timeline and the recorder are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from .._core.inspect.snapshot import Node as Node
from .._core.inspect.snapshot import snapshot as snapshot
from .access_log import AccessLog as AccessLog
from .blocked_loop import BlockedLoop as BlockedLoop
from .blocked_loop import watch_blocked_loop as watch_blocked_loop
from .control import serve_control as serve_control
from .inspection import allow_top as allow_top
from .json_log import JsonFormatter as JsonFormatter
from .line_writer import LineWriter as LineWriter
from .log import LogObserver as LogObserver
from .stats import Durations as Durations
from .stats import StatisticsObserver as StatisticsObserver
from .treeview import format_tree as format_tree
from .treeview import tree as tree

if TYPE_CHECKING:
    from .stepping import Recorder as Recorder
    from .stepping import Step as Step
    from .timeline import Timeline as Timeline

__all__ = [
    "AccessLog",
    "BlockedLoop",
    "Durations",
    "JsonFormatter",
    "LineWriter",
    "LogObserver",
    "Node",
    "Recorder",
    "StatisticsObserver",
    "Step",
    "Timeline",
    "allow_top",
    "format_tree",
    "serve_control",
    "snapshot",
    "tree",
    "watch_blocked_loop",
]


#: Names, and the package of each.
_LATE: Final = {"Recorder": "stepping", "Step": "stepping", "Timeline": "timeline"}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(f".{_LATE[name]}", __name__), name)
    return found
