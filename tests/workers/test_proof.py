"""The proof of `make prove-restart`, in a small form: nothing is lost in restarts and upgrades under load."""

from __future__ import annotations

import pytest

from benchmarks.restart.__main__ import main
from benchmarks.restart.haproxy import is_installed

SMALL = ["--requests", "4000", "--restarts", "2", "--upgrades", "1", "--clients", "8"]


@pytest.mark.slow
@pytest.mark.skipif(not is_installed(), reason="haproxy is not installed")
def test_nothing_is_lost_behind_haproxy(capsys):
    assert main(SMALL) == 0, capsys.readouterr().out


@pytest.mark.slow
def test_nothing_is_lost_without_a_proxy(capsys):
    assert main([*SMALL, "--direct"]) == 0, capsys.readouterr().out
