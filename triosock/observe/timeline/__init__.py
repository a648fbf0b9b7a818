"""A run as a picture: `with Timeline() as t:` around any code that serves, then `t.write_html("run.html")`.

recorder      the `Timeline`                        recording  collects events in bounded memory
model         the values that are recorded          layout     assigns bars to rows; pure functions
svg           draws the picture                     page       one HTML file, with zoom and details
trace         the format of Perfetto                runs       identifies the current trio run
"""

from .recorder import Timeline as Timeline

__all__ = ["Timeline"]
