"""What the notebooks of the lessons have besides the lessons: the picture below the cell, and a checker.

`picture` takes the place of `stage.picture`, and writes no file. `%%solution lesson1` at the head of a cell
checks what the cell has.
"""

from __future__ import annotations

import base64
import contextlib
import html
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triosock.observe import Recorder, Timeline

ROOT = Path(__file__).parents[2]
WIDTH = 760


@contextlib.contextmanager
def picture(script: str) -> Iterator[Timeline]:
    """Record what runs in the block; show its picture, and the steps of its tasks to be opened below it."""
    with Recorder() as recorder:
        yield recorder.timeline
    show(recorder, Path(script).stem)


def show(recorder: Recorder, name: str = "this run") -> None:
    """Show a recorder's picture, and below it, folded up, the page to step through."""
    from IPython.display import HTML, display

    display(HTML(html_of(recorder, name)))


def html_of(recorder: Recorder, name: str) -> str:
    """Return what `show` shows. Both parts are sealed: a page has room for many of them."""
    drawn = base64.b64encode(recorder.timeline.svg(width=WIDTH).encode()).decode()
    steps, who = html.escape(recorder.html()), html.escape(name)
    return (
        f'<img alt="The timeline of {who}" style="max-width:100%" src="data:image/svg+xml;base64,{drawn}">'
        f"<details><summary>Step through it</summary>"
        f'<iframe title="The steps of {who}" srcdoc="{steps}" '
        'style="width:100%;height:46em;border:1px solid;box-sizing:border-box"></iframe></details>'
    )


def check(line: str, cell: str) -> None:
    """`%%solution lesson1`: print what the checker says of this cell."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "solution.py"
        path.write_text(cell, "utf-8")
        command = [sys.executable, "-m", "examples.tutorial.check", line.strip(), str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print((done.stdout or done.stderr).replace(str(path), "this cell"), end="")


def load_ipython_extension(shell: Any) -> None:
    """Register the magic: `%load_ext examples.tutorial.inline`."""
    shell.register_magic_function(check, "cell", "solution")
