"""Stepping through a run in a browser: with keys alone, at each width and in both schemes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio

from tests.observe.pages import write_page
from tests.observe.stepping import programs
from tests.observe.stepping.programs import record
from triosock.observe import Recorder

pytestmark = pytest.mark.slow


async def everything() -> None:
    await programs.family()
    await programs.hurried()
    await programs.shop()


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    return write_page(record(everything), tmp_path_factory)


def text(chromium, name) -> str:
    return chromium.run("return document.getElementById(arguments[0]).innerText", name)


def step(chromium) -> int:
    return int(re.match(r"Step (\d+) of", text(chromium, "count"))[1])


def everything_shown(chromium) -> list[str]:
    return [text(chromium, name) for name in ("count", "said", "tree", "task")]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 768, 360])
def test_it_fits_the_window_and_keeps_to_the_scheme(chromium, page, gallery, width, dark):
    chromium.open(page, width=width, dark=dark)
    chromium.key(*["right"] * 12)
    assert chromium.run("return document.documentElement.scrollWidth") <= width
    red, green, blue = map(
        int, re.findall(r"\d+", chromium.run("return getComputedStyle(document.body).backgroundColor"))[:3]
    )
    assert (red + green + blue < 150) is dark
    small = chromium.run(
        "return [...document.querySelectorAll('button, select, input')]"
        ".filter(e => e.offsetParent && e.type != 'checkbox' && e.getBoundingClientRect().height < 28)"
        ".map(e => e.id || e.textContent)"
    )
    assert small == []
    chromium.picture(gallery / f"stepping-{width}-{'dark' if dark else 'light'}.png")


def test_keys_go_through_all_of_it_and_back_to_the_same(opened):
    forwards = [everything_shown(opened)]
    last = opened.run("return Number(document.getElementById('slider').max)")
    for _ in range(last):
        opened.key("right")
        forwards.append(everything_shown(opened))
    assert step(opened) == last + 1
    assert len({shown[0] for shown in forwards}) == last + 1
    backwards = [everything_shown(opened)]
    for _ in range(last):
        opened.key("left")
        backwards.append(everything_shown(opened))
    assert backwards[::-1] == forwards


def test_home_end_and_a_page_at_a_time(opened):
    opened.key("end")
    last = step(opened)
    assert last > 20
    opened.key("home")
    assert step(opened) == 1
    opened.key("page down")
    assert 1 < step(opened) < last
    assert text(opened, "said") == opened.run(
        "return document.getElementById('slider').getAttribute('aria-valuetext').replace(/^.*?: /, '')"
    )


def test_space_plays_and_stops(opened):
    opened.key("space")
    assert text(opened, "play") == "Stop"
    assert opened.run("return document.getElementById('said').getAttribute('aria-live')") == "off"
    opened.key("space")
    assert text(opened, "play") == "Play"
    assert opened.run("return document.getElementById('said').getAttribute('aria-live')") == "polite"


def test_a_screen_reader_is_told_each_step_in_words(opened):
    said = set()
    for _ in range(15):
        said.add(text(opened, "said"))
        opened.key("right")
    assert "Task 1 (everything) waits for time to pass (sleep), at" in " ".join(said)
    assert any(
        re.match(r"Task 2 \(quiet\) is started by task 1 \(everything\), at .* line \d+, in", one)
        for one in said
    )
    assert opened.run("return document.getElementById('said').getAttribute('role')") == "status"


def test_the_tab_key_reaches_everything_and_shows_where_it_is(opened):
    reached = []
    for _ in range(14):
        opened.key("tab")
        reached.append(
            opened.run(
                "const e = document.activeElement;"
                "return [e.id || e.className, getComputedStyle(e).outlineStyle, e.matches(':focus-visible')]"
            )
        )
    names = [name for name, _, _ in reached]
    assert names[:6] == ["first", "back", "play", "next", "last", "slider"]
    assert {"level", "only", "whose", "what", "before", "after"} <= set(names)
    assert all(outline != "none" and visible for _, outline, visible in reached)


def test_a_button_is_pressed_by_the_keyboard(opened):
    opened.key(*["tab"] * 4, "space")
    assert (step(opened), text(opened, "play")) == (2, "Play")


def test_a_breakpoint_stops_where_a_task_is_cancelled_and_says_by_whom(opened):
    opened.key("n")
    assert text(opened, "said") == (
        "Task 2 (quiet) is cancelled: its nursery is cancelled: child task raised exception ValueError('the "
        "<b>last</b> straw'); by task 3 (fails); with all of nursery 1, of task 1 (everything)."
    )
    first = step(opened)
    assert "Cancelled\nits nursery is cancelled" in text(opened, "task")
    opened.key("n")
    assert "a deadline is over" in text(opened, "said")
    opened.key("n")
    assert re.match(
        r"Task \d \(.*wait_in\) is cancelled: cancel\(\) was called: enough of it; by task 1 \(everything\), "
        r"at tests/observe/stepping/programs.py line \d+\.",
        text(opened, "said"),
    )
    opened.key("p", "p")
    assert step(opened) == first
    opened.key("p")
    assert (step(opened), text(opened, "found")) == (first, "No such step before this one.")
    # Of one task only, and another thing.
    opened.run(
        "document.getElementById('whose').value = '3'; document.getElementById('what').value = 'f';"
        "document.getElementById('after').click()"
    )
    opened.key("p")
    assert text(opened, "said").startswith("Task 3 (fails) has failed: ValueError: the <b>last</b> straw, at")


def stops(chromium, kinds) -> list[str]:
    """What is said where n stops, from the first step to the last."""
    chromium.key("home")
    chromium.run("document.getElementById('what').value = arguments[0]", kinds)
    said: list[str] = []
    while True:
        chromium.key("n")
        if text(chromium, "found"):
            return said
        said.append(text(chromium, "said"))


def test_n_passes_over_what_a_server_cancels_for_itself(chromium, tmp_path):
    record(programs.cut_off).write_html(tmp_path / "cut.html")
    chromium.open(tmp_path / "cut.html")
    all_of_them = stops(chromium, "c+")
    for told in ("triosock: drain;", "triosock: no connection is left;", "StreamServer._run_monitor"):
        assert any(told in one for one in all_of_them), told
    concerning = stops(chromium, "c")
    assert [one for one in all_of_them if one in concerning] == concerning
    assert list(
        dict.fromkeys(re.search(r"\((.*?)\) is cancelled: (.*?)[;.]", one).groups() for one in concerning)
    ) == [
        # The grace of the drain, in the task that the program has started.
        ("<lambda>", "a deadline is over"),
        ("connection 1 of memory://shop/1", "cancel() was called: triosock: drain deadline"),
        ("client", "cancel() was called: the program has had enough"),
    ]
    # Of one task that is asked for, all of them.
    chromium.run("document.getElementById('whose').value = '3'")
    assert stops(chromium, "c")


def test_choosing_a_task_shows_its_line_and_why_it_ended(opened):
    opened.key("n")
    opened.run("[...document.querySelectorAll('.task')].find(e => e.textContent.startsWith('3')).click()")
    assert "Task 3: tests.observe.stepping.programs.fails" in text(opened, "task")
    assert "Error\nValueError: the <b>last</b> straw" in text(opened, "task")
    now = opened.run("return document.querySelector('.line.now').textContent")
    caption = opened.run("return document.querySelector('#task figcaption').textContent")
    assert re.fullmatch(r"raised at tests/observe/stepping/programs.py, line \d+, in fails", caption)
    assert now.startswith("▶")
    assert now.endswith('raise ValueError("the <b>last</b> straw")\n')
    pressed = opened.run("return document.querySelector('[aria-pressed=true]').textContent")
    assert pressed.startswith("3 fails has failed")
    opened.key("escape")
    assert opened.run("return document.querySelector('[aria-pressed=true]')") is None


def test_only_one_task(opened):
    opened.key("n", "left")
    opened.run("[...document.querySelectorAll('.task')].find(e => e.textContent.startsWith('3')).click()")
    opened.run("document.getElementById('only').click()")
    said = []
    opened.key("home")
    for _ in range(10):
        said.append(text(opened, "said"))
        opened.key("right")
    assert all(one.startswith("Task 3 ") for one in said)


def test_a_click_on_the_timeline_goes_there(opened):
    box = opened.run(
        "const b = document.querySelector('#timeline .bracket.close path').getBoundingClientRect();"
        "return [b.right + 3, b.y + 4]"
    )
    opened.run(
        "document.querySelector('#timeline svg').dispatchEvent(new MouseEvent('click',"
        " {clientX: arguments[0], clientY: arguments[1], bubbles: true}))",
        *box,
    )
    last = opened.run("return Number(document.getElementById('slider').max)") + 1
    assert step(opened) == last
    x = opened.run("return Number(document.querySelector('.cursor').getAttribute('x1'))")
    assert x > 500


def test_a_step_has_an_address(chromium, page):
    chromium.go(page.resolve().as_uri() + "#step-7")
    assert step(chromium) == 7
    chromium.key("right")
    assert chromium.run("return location.hash") == "#step-8"


def test_what_is_hostile_does_nothing(chromium, tmp_path):
    nasty = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    programs.record_failing(programs.hostile(nasty)).write_html(tmp_path / "nasty.html")
    chromium.open(tmp_path / "nasty.html")
    shown = ""
    for _ in range(20):
        chromium.key("right")
        shown += text(chromium, "task") + text(chromium, "said")
    assert chromium.run("return [window.hacked, document.images.length]") == [None, 0]
    assert shown.count(nasty) > 2


def test_moves_in_a_long_run_take_no_longer_than_a_reader_notices(chromium, tmp_path):
    record(programs.crowd(tasks=80, waits=200)).write_html(tmp_path / "long.html")
    chromium.open(tmp_path / "long.html")
    before = chromium.seconds_of_work()
    chromium.run(
        "for (const key of ['End', 'Home', 'End', 'ArrowLeft', 'ArrowLeft'])"
        "  document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));"
    )
    assert step(chromium) > 10_000
    assert chromium.seconds_of_work() - before < 0.5, "five moves"


def test_where_nothing_happened_it_says_so(chromium, tmp_path):
    with Recorder() as recorder:
        pass
    recorder.write_html(tmp_path / "empty.html")
    chromium.open(tmp_path / "empty.html")
    chromium.key("right", "end", "n", "down", "space", "space")
    assert text(chromium, "count") == "No steps"
    assert text(chromium, "said") == "Before the first step."


def test_tasks_that_have_ended_stay_until_their_nursery_closes_but_not_all(chromium, tmp_path):
    async def main():
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(trio.sleep, number / 10)

    record(main).write_html(tmp_path / "many.html")
    chromium.open(tmp_path / "many.html")
    shown = "return document.querySelectorAll('.task').length"
    chromium.key("end")
    assert chromium.run(shown) == 1
    chromium.key("left")  # the nursery is closed
    assert chromium.run(shown) == 1
    chromium.key("left")
    ended = chromium.run("return document.querySelectorAll('.task.is-e').length")
    assert (chromium.run(shown), ended) == (41, 40)
