"""The `--help` of a command, run when the site is built.

.. command-help:: triosock serve
"""

import subprocess
import sys

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class CommandHelp(SphinxDirective):
    """The output of ``python -m … --help``."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        """Ask, and show the answer as it is."""
        command = [sys.executable, "-m", *self.arguments[0].split(), "--help"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={"COLUMNS": "80", "PYTHON_COLORS": "0"}
        )
        block = nodes.literal_block(done.stdout, done.stdout)
        block["language"] = "text"
        return [block]


def setup(app):
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
