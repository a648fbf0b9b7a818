"""What is looked at: pages in headless Chromium. `LOOK=folder pytest tests/look` keeps the pictures there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.look import browser as module


@pytest.fixture(scope="session")
def chromium():
    """One browser for all tests that look."""
    reason = module.missing()
    if reason:
        pytest.skip(reason)
    with module.browser() as one:
        yield one


@pytest.fixture
def opened(chromium, page):
    """The browser, in which the `page` of these tests has just been opened."""
    chromium.open(page)
    return chromium


@pytest.fixture
def gallery(tmp_path):
    """Where pictures go."""
    folder = Path(os.environ.get("LOOK") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
