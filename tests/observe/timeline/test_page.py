"""The page, parsed: one file, nothing from elsewhere, and the script finds what it looks for."""

from __future__ import annotations

import re

import pytest

from tests.observe.pages import check_loads_nothing, parse, write_page
from tests.observe.runs import record_shop
from triosock.observe.timeline import page as module


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_page(record_shop(), tmp_path_factory).read_text("utf-8")


@pytest.fixture(scope="module")
def page(text):
    return parse(text)


def test_it_loads_nothing(text):
    check_loads_nothing(text)


def test_every_line_is_told_in_words(page):
    words = "".join(page.text)
    for said in (
        "grace 300 ms",
        "1 connection cut (drain deadline)",
        "cancelled from around the server (parent)",
    ):
        assert said in words


def test_the_script_finds_what_it_looks_for(text, page):
    script = module._SCRIPT
    for wanted in re.findall(r'getElementById\("(\w+)"\)', script):
        assert wanted in page.ids
    assert len(page.ids) == len(set(page.ids))
    assert "</script" not in script


def test_it_can_be_used_without_a_mouse(page):
    attrs = {dict(attrs).get("id"): attrs for _, attrs in page.tags}
    assert attrs["picture"]["tabindex"] == "0"
    assert attrs["details"]["aria-live"] == "polite"
    signs = [attrs for tag, attrs in page.tags if tag == "button" and attrs.get("id") in ("in", "out")]
    assert len(signs) == 2
    assert all(attrs["aria-label"] for attrs in signs)


def test_what_was_let_go_is_told():
    text = module.page(record_shop(max_connections=6).picture())
    assert "Note: 4 older connections let go to bound the memory." in text
