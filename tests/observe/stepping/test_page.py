"""The page to step through a run, parsed: one file, its data, and that nothing hostile gets out of it."""

from __future__ import annotations

import json
import re

import pytest

import triosock
from tests.observe.pages import check_loads_nothing, parse, write_page
from tests.observe.stepping import programs
from tests.observe.stepping.programs import record
from triosock.observe.stepping import page as module
from triosock.observe.stepping.packing import LETTERS


def data_of(text):
    (found,) = re.findall(r'<script type="application/json" id="run">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


@pytest.fixture(scope="module")
def recorder():
    return record(programs.shop)


@pytest.fixture(scope="module")
def text(recorder, tmp_path_factory):
    return write_page(recorder, tmp_path_factory).read_text("utf-8")


@pytest.fixture(scope="module")
def parsed(text):
    return parse(text)


def test_its_data_says_what_the_recorder_has(recorder, text):
    data, steps = data_of(text), recorder.steps()
    texts = [*data["texts"], ""]
    assert data["forgotten"] == 0
    assert [(event[1], event[2] or None) for event in data["events"]] == [
        (LETTERS[step.kind], step.task) for step in steps
    ]
    when = 0
    for event, step in zip(data["events"], steps, strict=True):
        when += event[0]
        assert when == pytest.approx(step.time * 1e6, abs=1)
        row = [*event, *[-1] * (8 - len(event))]
        assert row[3] == (-1 if step.by is None else step.by)
        assert row[5] == (-1 if step.nursery is None else step.nursery)
        assert texts[row[6]] == (step.name if step.kind == "spawn" else step.text)
        if step.waits_for:
            assert texts[data["stacks"][row[4]][1]] == step.waits_for


def test_each_file_is_in_it_once(text):
    data = data_of(text)
    names = [file["name"] for file in data["files"]]
    assert len(names) == len(set(names))
    own = [file for file in data["files"] if file["own"]]
    assert [file["name"] for file in own] == ["tests/observe/stepping/programs.py"]
    assert own[0]["text"][0].startswith('"""Programs whose every step is known')
    # The folder of this checkout is not told.
    assert str(programs.__file__) not in text


def test_it_loads_nothing(text):
    check_loads_nothing(text)
    assert not re.search(r"\beval\s*\(|innerHTML|document\.write", text)


def test_the_script_finds_what_it_looks_for(parsed):
    script = module._SCRIPT
    wanted = re.findall(r'\$\("(\w+)"\)', script)
    assert len(wanted) > 10
    assert set(wanted) <= set(parsed.ids)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert "</script" not in script


def test_it_can_be_used_with_a_keyboard_and_a_screen_reader(parsed):
    by_id = {attrs.get("id"): attrs for _, attrs in parsed.tags}
    assert (by_id["said"]["role"], by_id["said"]["aria-live"]) == ("status", "polite")
    assert by_id["slider"]["type"] == "range"
    for name in ("tree", "task", "timeline", "slider", "whose", "what"):
        assert by_id[name]["aria-label"]
    for motion in ("prefers-color-scheme: dark", "prefers-reduced-motion", ":focus-visible"):
        assert motion in module._STYLE


def test_what_is_hostile_stays_text():
    nasty = '</script><img src=x onerror=alert(1)>&"\u2028'
    text = programs.record_failing(programs.hostile(nasty)).html()
    assert "<img" not in text
    assert text.count("</script>") == 2
    texts = data_of(text)["texts"]
    assert any("onerror=alert(1)" in one for one in texts)


def test_a_run_without_servers_has_no_timeline():
    assert 'id="timeline"' not in record(programs.family).html()


def test_a_crowd_has_no_timeline_beside_it(monkeypatch):
    monkeypatch.setattr(module, "MAX_BARS", 0)
    assert "1 connections are too many" in record(programs.shop).html()


def test_nothing_was_recorded():
    text = module.page(*triosock.observe.Recorder()._keeper.copy(), triosock.observe.Timeline().picture())
    assert data_of(text)["events"] == []


def test_fifty_thousand_events_are_two_megabytes_at_most():
    recorder = record(programs.crowd(tasks=40, waits=600))
    assert recorder.forgotten > 0
    assert len(recorder.html().encode()) < 2_000_000
