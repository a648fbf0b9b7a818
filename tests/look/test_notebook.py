"""What a notebook shows below the cell of a lesson, as a browser shows it."""

from __future__ import annotations

import pytest

from examples.tutorial.inline import html_of
from tests.observe.stepping import programs
from tests.observe.stepping.programs import record

pytestmark = pytest.mark.slow

IN_FRAME = "const inner = document.querySelector('iframe').contentDocument;"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 768, 360])
def test_picture_and_steps_are_inline_and_can_be_used(chromium, tmp_path, gallery, width, dark):
    page = tmp_path / "notebook.html"
    shown = html_of(record(programs.shop), 'a "shop" <with> a name')
    head = '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    page.write_text(head + shown * 2, "utf-8")
    chromium.open(page, width=width, dark=dark)
    chromium.run("document.querySelector('details').open = true")
    assert chromium.run("return [...document.images].every(e => e.complete && e.naturalWidth > 500)")
    assert chromium.run("return document.images[0].alt") == 'The timeline of a "shop" <with> a name'
    assert chromium.run("return document.documentElement.scrollWidth") <= width
    said = f"{IN_FRAME} return inner.getElementById('said').innerText"
    first = chromium.run(said)
    press = "new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true})"
    chromium.run(f"{IN_FRAME} inner.body.dispatchEvent({press})")
    assert chromium.run(said) not in ("", first)
    assert chromium.run(f"{IN_FRAME} return inner.documentElement.scrollWidth") <= width
    chromium.picture(gallery / f"notebook-{width}-{'dark' if dark else 'light'}.png")
