"""Those who are told, and those who look: consumers of events, and pictures of what lives.

log         events on the standard library's logging; every server has it
stats       events, counted
metrics     events, counted for Prometheus (the extra `metrics`; not imported here)
timeline/   a run as a picture: HTML, SVG, Chrome trace
stepping/   a run to be stepped through, forwards and backwards: HTML
treeview    what lives now, as text; as values it is `snapshot()`
control     the same, through a Unix socket: `python -m triosock top`

The timeline and the recorder are loaded when they are first asked for: most programs never draw.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .._core.inspect.snapshot import Node as Node
from .._core.inspect.snapshot import snapshot as snapshot
from .control import serve_control as serve_control
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
    "Durations",
    "LogObserver",
    "Node",
    "Recorder",
    "StatisticsObserver",
    "Step",
    "Timeline",
    "format_tree",
    "serve_control",
    "snapshot",
    "tree",
]


#: Names, and the package of each.
_LATE: Final = {"Recorder": "stepping", "Step": "stepping", "Timeline": "timeline"}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(f".{_LATE[name]}", __name__), name)
    return found
