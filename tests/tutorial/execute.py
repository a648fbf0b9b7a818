"""Runs a notebook as Jupyter would: `python execute.py FILE`, which gets its outputs."""

from __future__ import annotations

import sys

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

if __name__ == "__main__":
    (path,) = sys.argv[1:]
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    # Its ports would be free ones, which another process may take before the kernel does.
    over_files = Config({"KernelManager": {"transport": "ipc"}})
    NotebookClient(notebook, timeout=120, kernel_name="python3", config=over_files).execute()
    nbformat.write(notebook, path)
