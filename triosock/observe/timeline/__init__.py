"""A run as a picture: `with Timeline() as t:` around anything, then `t.write_html("run.html")`.

recording     events, kept in bounded memory       model      what is kept
layout        which bar in which row; pure         svg        the picture
page          one HTML file to zoom and point at   trace      for Perfetto
runs          which trio run this is
"""

from .recorder import Timeline as Timeline

__all__ = ["Timeline"]
