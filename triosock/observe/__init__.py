"""Those who are told, and those who look: consumers of events, and pictures of what lives.

log         events on the standard library's logging; every server has it
stats       events, counted
metrics     events, counted for Prometheus (the extra `metrics`; not imported here)
timeline/   a run as a picture: HTML, SVG, Chrome trace
tree        what lives now, as values and as text
control     the same, through a Unix socket: `python -m triosock top`
"""

from .log import LogObserver as LogObserver
from .timeline import Timeline as Timeline

__all__ = ["LogObserver", "Timeline"]
