"""What the README promises: its server runs as printed, and its links lead somewhere."""

from __future__ import annotations

import re
import signal

import pytest

from tests.programs import ROOT, dial, running

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_server_of_the_readme_serves_and_drains_as_it_says():
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(program.splitlines()) <= 12
    # A line before it says where it listens, as nothing else does: the README's program is quiet.
    listening = "import logging\nlogging.basicConfig(level=logging.INFO)\n"
    with running("-c", listening + program.replace("9999", "0")) as server:
        with dial(server.port()) as client:
            assert client.ask(b"hello\n") == b"HELLO\n"
            server.signal(signal.SIGINT)
            assert client.rest() == b""
        assert server.wait() == 0
    promised = re.search(r"^    (tcp://0\.0\.0\.0:9999: drained in .*)$", README, re.MULTILINE)
    assert promised is not None
    pattern = re.sub(r"\d+\\?\.\d+ s|\d+", r"[0-9.]+( s)?", re.escape(promised[1]))
    assert re.search(pattern, server.output), server.output


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_a_link_of_the_readme_leads_somewhere(target):
    assert (ROOT / target).exists()


def test_every_make_target_of_the_readme_and_of_contributing_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"make ([a-z-]+)", README + contributing))
    assert "demo" in targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
