"""The Chrome trace, held against the rules of the Trace Event Format (its JSON object form)."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from tests.observe.runs import record_shop

REQUIRED = {
    "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"},
    "i": {"name", "cat", "ph", "ts", "pid", "tid", "args", "s"},
    "M": {"name", "ph", "pid", "tid", "args"},
}


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "run.json"
    record_shop().write_chrome_trace(path)
    return json.loads(path.read_text("utf-8"))


def test_every_event_has_the_fields_of_its_phase(trace):
    assert trace["displayTimeUnit"] in ("ms", "ns")
    for event in trace["traceEvents"]:
        assert set(event) - {"cname"} == REQUIRED[event["ph"]]
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] != "M":
            assert isinstance(event["ts"], int)
            assert event["ts"] >= 0
        assert event.get("dur", 0) >= 0
        assert event.get("s", "g") in ("g", "p", "t")


def test_spans_of_a_thread_nest_or_do_not_touch(trace):
    threads = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] == "X":
            threads[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert len(threads) == 8 + 2 + 2
    for spans in threads.values():
        around: list[tuple[int, int]] = []
        for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            while around and around[-1][1] <= start:
                around.pop()
            assert not around or end <= around[-1][1]
            around.append((start, end))


def test_threads_have_numbers_of_their_own(trace):
    """Perfetto knows a thread by its number alone, and takes 0 and the process's for its main thread."""
    events = trace["traceEvents"]
    processes = {event["pid"] for event in events}
    threads = {(event["pid"], event["tid"]) for event in events}
    numbers = {tid for _, tid in threads}
    assert len(numbers) == len(threads)
    assert not numbers & {0, *processes}


def test_it_says_what_the_picture_says(trace):
    events = trace["traceEvents"]
    names = [e["args"]["name"] for e in events if e["name"] == "process_name"]
    assert names == ["shop on memory://shop", "raw on memory://raw"]
    assert len([e for e in events if e.get("cat") == "connection"]) == 10
    assert len([e for e in events if e.get("cat") == "working"]) == 10
    failed = [e for e in events if e.get("cname") == "terrible"]
    assert [e["args"]["end"] for e in failed] == ["failed", "failed"]
    assert [e["name"] for e in events if e.get("cat") == "life"] == [
        "drain", "grace over", "drained, closed", "cancelled", "closed",
    ]  # fmt: skip
    assert [e["ts"] for e in events if e.get("cat") == "deadline" and e["args"]["hit"]] == [
        3_200_000,
        1_500_000,
        4_300_000,
    ]
