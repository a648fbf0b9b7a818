"""Tables generated from the code, so that they agree with it. In Markdown, within `eval-rst`.

.. defaults:: triosock.Limits       every field of an attrs class, with its default
.. events::                         every event, its fields, and the level of its line in the log
.. causes::                         every `Cause`
.. stdlib-names::                   every name of socketserver, in compat and natively
.. ready-made::                     the classes of compat that are mixin and server
"""

import importlib
import inspect
import logging
import math
import re
import socketserver

import attrs
from sphinx.util.docutils import SphinxDirective

import triosock
import triosock.compat
from triosock import events
from triosock._core.model import events as core_events
from triosock.observe import log


class Table(SphinxDirective):
    """A directive that is a list-table."""

    def build(self, header, rows, widths):
        """Return the table's nodes."""
        lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", "   :class: longtable", ""]
        for row in [header, *rows]:
            for number, cell in enumerate(row):
                lines.append(("   * - " if number == 0 else "     - ") + " ".join(str(cell).split()))
        return self.parse_text_to_nodes("\n".join(lines))


def shown(value):
    """Return a default as one would write it."""
    if value == math.inf:
        return "`math.inf`"
    return f"`{value:_}`" if isinstance(value, int) and not isinstance(value, bool) else f"`{value!r}`"


class Defaults(Table):
    """The fields of an attrs class, and their defaults."""

    required_arguments = 1

    def run(self):
        """Look the class up, and its docstring's part for each field."""
        module, _, name = self.arguments[0].rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        texts = field_texts(kind)
        lines = []
        for one in attrs.fields(kind):
            elsewhere = next(
                (f"See `{name}`." for name, text in texts.items() if f"`{one.name}`" in text), ""
            )
            text = texts.get(one.name) or elsewhere
            lines += [f"`{one.name}` = {shown(one.default)}", f"    {text}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def field_texts(kind):
    """Return what a docstring of "`name`" lines with an indented text below each says about each name."""
    texts, names = {}, []
    for line in inspect.cleandoc(kind.__doc__).splitlines():
        if line.startswith("`") and not line.rstrip().endswith("."):
            names = re.findall(r"`(\w+)`", line)
        elif line.startswith("    ") and names:
            for name in names:
                texts[name] = (texts.get(name, "") + " " + line.strip()).strip()
        else:
            names = []
    return texts


def level_of(kind):
    """Return at which levels the log writes an event."""
    if kind not in log._LINES:
        return "not in the log"
    source = inspect.getsource(log._LINES[kind]) if callable(log._LINES[kind]) else ""
    if kind in log._ONLY_DEBUG:
        return "DEBUG"
    found = [one for one in ("DEBUG", "INFO", "WARNING", "ERROR") if f"logging.{one}" in source]
    if source.count("\n") > 1 or len(found) == 1:
        return " or ".join(found)
    return logging.getLevelName(log._LINES[kind](None)[0])


class Events(Table):
    """The catalogue of events."""

    def run(self):
        """List every final event class."""
        kinds = [
            getattr(events, name)
            for name in events.__all__
            if inspect.isclass(getattr(events, name)) and issubclass(getattr(events, name), core_events.Event)
        ]
        kinds = [kind for kind in kinds if not kind.__subclasses__()]
        order = list(vars(core_events))
        kinds.sort(key=lambda kind: order.index(kind.__name__))
        lines = []
        for kind in kinds:
            lines += [
                f".. autoclass:: triosock.events.{kind.__name__}",
                "",
                f"   In the log: {level_of(kind)}.",
                "",
            ]
        return self.parse_text_to_nodes("\n".join(lines))


class Causes(Table):
    """Why a connection or request ended."""

    def run(self):
        """Read the comment above each member: it is the member's documentation."""
        source = inspect.getsource(events.Cause)
        texts = dict(reversed(pair) for pair in re.findall(r"#: (.*)\n +(\w+) =", source))
        rows = [(f"``Cause.{one.name}``", f"“{one}”", texts.get(one.name, "")) for one in events.Cause]
        return self.build(("Cause", "As a word", "When"), rows, "25 20 55")


NATIVE = {
    "BaseServer": "`StreamServer`, made by `serve_tcp`, `serve_unix` and `serve_listeners`",
    "TCPServer": "`serve_tcp`, with ``Limits(max_connections=1)`` if one at a time is what you want",
    "UDPServer": "`serve_udp`",
    "UnixStreamServer": "`serve_unix`",
    "UnixDatagramServer": "`serve_unix_datagram`",
    "BaseRequestHandler": "an async function of one `Connection` or `Datagram`",
    "StreamRequestHandler": "an async function of one `Connection`, or `StreamHandler`",
    "DatagramRequestHandler": "an async function of one `Datagram`, or `DatagramHandler`",
    "ThreadingMixIn": "nothing: each connection is a task of its own",
    "ForkingMixIn": "nothing; for work that needs a process, ``trio.run_process`` in the handler",
}


class StdlibNames(Table):
    """Every name of socketserver."""

    def run(self):
        """Go by the stdlib's own list."""
        rows = []
        for name in sorted(set(socketserver.__all__) | set(triosock.compat.__all__)):
            native = NATIVE.get(name) or ready_made(name)
            rows.append((f"``{name}``", f"``compat.{name}``", native))
        return self.build(("socketserver", "triosock.compat", "Native"), rows, "30 35 35")


class ReadyMade(Table):
    """The ready-made classes of compat."""

    def run(self):
        """List those that have no docstring: mixin and server."""
        lines = []
        for name in triosock.compat.__all__:
            if "__doc__" not in vars(kind := getattr(triosock.compat, name)) or kind.__doc__ is None:
                lines += [f".. autoclass:: triosock.compat.{name}", "   :show-inheritance:", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def ready_made(name):
    """Return what stands for ``ThreadingTCPServer`` and the like."""
    for kind in ("UnixStreamServer", "UnixDatagramServer", "TCPServer", "UDPServer"):
        if name.endswith(kind):
            return NATIVE[kind].partition(",")[0]
    raise KeyError(f"docs/_ext/tables.py does not know {name}")


def setup(app):
    """Register the directives."""
    for name, kind in {
        "defaults": Defaults,
        "events": Events,
        "causes": Causes,
        "stdlib-names": StdlibNames,
        "ready-made": ReadyMade,
    }.items():
        app.add_directive(name, kind)
    return {"parallel_read_safe": True}
