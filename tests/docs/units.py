"""The units of a service manager that the pages show."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.programs import ROOT

DOCS = ROOT / "docs"
CODE = DOCS / "code"
DEPLOY = CODE / "deploy"


def complaints(folder: Path, *names: str) -> list[str]:
    """Copy these units, without the programs that they start, and return what systemd says of them, by lines.

    One that is a template is verified as its instance: "each@.service" as "each@one.service".
    """
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not installed")
    paths = []
    for name in names:
        text = re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", (DEPLOY / name).read_text(), flags=re.M)
        (folder / name).write_text(text)
        paths.append(folder / name.replace("@.", "@one."))
        paths[-1].write_text(text)
    command = [analyze, "verify", "--man=no", *paths]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60).stderr
    stems = {re.split("[.@]", name)[0] for name in names}
    return [line for line in said.splitlines() if any(stem in line for stem in stems)]
