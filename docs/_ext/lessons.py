"""Runs the lessons when the site is built: a page shows the output and the picture of that run. The front
page is made in the same way.

```{lesson-output} lesson1
```
```{lesson-picture} lesson1
```
```{exercise} lesson1
```
"""

import pathlib
import re
import subprocess
import sys

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from examples.tutorial.exercises import EXERCISES

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "tutorial"


def run_all(app):
    """Run every lesson, all at the same time; their pictures become static files of the site."""
    target = pathlib.Path(app.outdir) / "_static" / "lessons"
    target.mkdir(parents=True, exist_ok=True)
    running = {
        path.stem: subprocess.Popen(
            [sys.executable, path, target, *(["--play"] if path.parent == FOLDER else [])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
        )
        for path in [*sorted(FOLDER.glob("lesson*.py")), ROOT / "docs" / "front.py"]
    }
    app.lesson_outputs = {}
    for name, process in running.items():
        out, errors = process.communicate(timeout=60)
        if process.returncode:
            raise RuntimeError(f"{name} failed:\n{out}\n{errors}")
        # The pages show the command without --play.
        app.lesson_outputs[name] = re.sub("To step through this run: .*\n", "", out)


class Output(SphinxDirective):
    """What a lesson printed."""

    required_arguments = 1

    def run(self):
        """Show it as it was."""
        text = self.env.app.lesson_outputs[self.arguments[0]]
        block = nodes.literal_block(text, text)
        block["language"] = "text"
        return [block]


class Picture(SphinxDirective):
    """The picture of that very run, and the page to look into it."""

    required_arguments = 1

    def run(self):
        """Show the SVG; link the HTML."""
        name = self.arguments[0]
        up = "../" * self.env.docname.count("/")
        lessons = f"{up}_static/lessons/{name}"
        steps = ""
        if name.startswith("lesson"):
            steps = f' <a href="{lessons}.play.html">Step through it</a>: on and back, task by task.'
        html = (
            '<figure class="run"><picture>'
            f'<source media="(max-width: 46em)" srcset="{lessons}.phone.svg">'
            f'<img src="{lessons}.svg" alt="The timeline of {name}"></picture>'
            f'<figcaption><a href="{lessons}.html">Look closer</a>: zoom, and point at things.{steps}'
            "</figcaption></figure>"
        )
        return [nodes.raw("", html, format="html")]


class Task(SphinxDirective):
    """The text of an exercise, as the checker has it."""

    required_arguments = 1

    def run(self):
        """Show it as a paragraph."""
        task = EXERCISES[self.arguments[0]].task.partition(": ")[2]
        return self.parse_text_to_nodes(task[0].upper() + task[1:])


def setup(app):
    """Run the lessons, and register the directives."""
    app.connect("builder-inited", run_all)
    app.add_directive("lesson-output", Output)
    app.add_directive("lesson-picture", Picture)
    app.add_directive("exercise", Task)
    return {"parallel_read_safe": False, "env_version": 1}
