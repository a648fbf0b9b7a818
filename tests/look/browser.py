"""A headless Chromium, driven through Debian's chromedriver: no packages, only HTTP and JSON."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
KEYS = {
    "down": "\ue015",
    "up": "\ue013",
    "left": "\ue012",
    "right": "\ue014",
    "escape": "\ue00c",
    "home": "\ue011",
    "end": "\ue010",
    "page down": "\ue00f",
    "tab": "\ue004",
    "space": " ",
}


def missing() -> str | None:
    """Why there is no browser here, or None."""
    lacking = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else None


class Browser:
    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        profile = tempfile.mkdtemp(prefix="look-")
        self.profile = profile
        options = {"args": [*OPTIONS, f"--user-data-dir={profile}"], "binary": shutil.which("chromium")}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self._session = self._call("POST", "/session", wanted)["sessionId"]
        self.cdp("Performance.enable", timeDomain="threadTicks")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._base + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def _in(self, method: str, path: str, body: Any = None) -> Any:
        return self._call(method, f"/session/{self._session}{path}", body)

    def cdp(self, command: str, **params: Any) -> Any:
        return self._in("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def open(self, page: Path, *, width: int = 1200, height: int = 800, dark: bool = False) -> None:
        """Open a file."""
        self.go(page.resolve().as_uri(), width=width, height=height, dark=dark)

    def go(self, address: str, *, width: int = 1200, height: int = 800, dark: bool = False) -> None:
        """Open an address."""
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.cdp("Emulation.setEmulatedMedia", features=scheme)
        self._in("POST", "/url", {"url": address})

    def seconds_of_work(self) -> float:
        """The processor time that the main thread of this page has taken: other processes do not count."""
        metrics = {one["name"]: one["value"] for one in self.cdp("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])

    def run(self, script: str, *args: Any) -> Any:
        return self._in("POST", "/execute/sync", {"script": script, "args": list(args)})

    def key(self, *keys: str) -> None:
        """Press these, one after the other."""
        for key in keys:
            press = [{"type": kind, "value": KEYS.get(key, key)} for kind in ("keyDown", "keyUp")]
            self._in("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": press}]})

    def point(
        self, x: float, y: float, *, press: bool = False, to: tuple[float, float] | None = None
    ) -> None:
        """Move the mouse to (x, y); with `press`, click there; with `to`, drag from there to that place."""
        moves: list[dict[str, Any]] = [{"type": "pointerMove", "x": int(x), "y": int(y), "duration": 0}]
        if press or to:
            moves.append({"type": "pointerDown", "button": 0})
            if to:
                moves.append({"type": "pointerMove", "x": int(to[0]), "y": int(to[1]), "duration": 50})
            moves.append({"type": "pointerUp", "button": 0})
        self._in("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": moves}]})

    def wheel(self, x: float, y: float, delta: int, sideways: int = 0) -> None:
        scroll = {"type": "scroll", "x": int(x), "y": int(y), "deltaX": sideways, "deltaY": delta}
        self._in("POST", "/actions", {"actions": [{"type": "wheel", "id": "wheel", "actions": [scroll]}]})

    def picture(self, path: Path, *, full: bool = True) -> None:
        shot = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self._in("DELETE", "")
        shutil.rmtree(self.profile, ignore_errors=True)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    with subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as driver:
        try:
            assert driver.stdout is not None
            port = next(
                int(found[1]) for line in driver.stdout if (found := re.search(r"on port (\d+)\.", line))
            )
            one = Browser(port)
            try:
                yield one
            finally:
                one.close()
        finally:
            driver.terminate()
