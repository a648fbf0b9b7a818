"""Ratios below their thresholds are named, and ratios that were not measured fail."""

import pytest

from benchmarks import thresholds
from benchmarks.__main__ import main
from benchmarks.rounds import Effort, Result

ONE = """
rounds = 3
[[ratio]]
work = "lines"
against = "trio"
measures = ["rate"]
at_least = 2.0
aim = 3.0
"""


@pytest.fixture
def judged(tmp_path):
    """The exit code of `check` with that file and these rates of triosock; trio has 10 in each round."""

    def judge(text, *ours, measure="rate"):
        path, saved = tmp_path / "thresholds.toml", tmp_path / "result.json"
        path.write_text(text)
        samples = {"triosock": [{measure: value} for value in ours], "trio": [{measure: 10} for _ in ours]}
        work = "idle" if measure == "idle_kib" else "lines"
        saved.write_text(Result(Effort(), {}, {work: samples}).to_json())
        return main(["check", "--result", str(saved), "--thresholds", str(path)])

    return judge


@pytest.fixture
def unclear(tmp_path):
    """What is unclear with these rates of triosock; trio has 10 in each round, and the bound is 2."""

    def find(*ours):
        path = tmp_path / "thresholds.toml"
        path.write_text(ONE)
        samples = {"triosock": [{"rate": rate} for rate in ours], "trio": [{"rate": 10} for _ in ours]}
        plan = thresholds.load(path).unclear(Result(Effort(), {}, {"lines": samples}))
        return [(work.name, {peer.name for peer in peers}) for work, peers in plan]

    return find


def test_a_median_at_the_threshold_passes(judged, capsys):
    assert judged(ONE, 5, 20, 30) == 0
    assert "1 of 1 thresholds held" in capsys.readouterr().out


def test_a_median_below_it_fails_and_is_named(judged, capsys):
    assert judged(ONE, 19, 19, 90) == 1
    out = capsys.readouterr().out
    assert "FAILED  lines, rate: triosock against trio: 1.90 (1.90 to 9.00), at least 2.00, aim 3.00" in out
    assert "0 of 1 thresholds held" in out


def test_a_missed_aim_is_named_but_no_failure(judged, capsys):
    assert judged(ONE, 25, 25, 25) == 0
    assert "aim missed  lines, rate: triosock against trio: 2.50" in capsys.readouterr().out


def test_too_few_rounds_have_not_passed(judged, capsys):
    assert judged(ONE, 90, 90) == 1
    assert "only 2 of 3 rounds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rate", "close"), [(19, False), (19.3, True), (20, True), (20.7, True), (21, False), (0, False)]
)
def test_what_is_close_to_its_bound_on_either_side_is_unclear(unclear, rate, close):
    assert unclear(rate, rate, rate) == ([("lines", {"triosock", "trio"})] if close else [])


@pytest.mark.parametrize(
    ("rates", "both"),
    [((19, 25, 26), True), ((15, 16, 20), True), ((15, 16, 19.9), False), ((20, 25, 26), False)],
)
def test_what_has_rounds_on_both_sides_of_its_bound_is_unclear(unclear, rates, both):
    assert bool(unclear(*rates)) == both


def test_what_was_not_measured_has_not_passed(judged, capsys):
    assert judged(ONE) == 1
    assert "lines, rate: triosock against trio: not measured" in capsys.readouterr().out


def test_at_most_is_the_same_bound_turned_round(judged):
    text = 'rounds = 1\n[[ratio]]\nwork = "idle"\nagainst = "trio"\nat_most = 1.1\naim_at_most = 0.9\n'
    assert judged(text, 10.9, measure="idle_kib") == 0
    assert judged(text, 11.1, measure="idle_kib") == 1


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ('work = "lime"\nagainst = "trio"', "there is no work 'lime'"),
        ('work = "lines"\nagainst = "nobody"', "'nobody' does not exist"),
        ('work = "lines"\nagainst = "asyncio-protocols"', "'asyncio-protocols' cannot do that work"),
    ],
)
def test_a_misspelt_name_is_an_error(tmp_path, entry, complaint):
    path = tmp_path / "thresholds.toml"
    path.write_text(f"rounds = 1\n[[ratio]]\n{entry}\nat_least = 1\n")
    with pytest.raises(ValueError, match=complaint):
        thresholds.load(path)


def test_the_plan_has_both_servers_of_each_ratio_and_both_works_of_growth(tmp_path):
    path = tmp_path / "thresholds.toml"
    path.write_text(
        'rounds = 1\n[[ratio]]\nwork = "echo-4000"\nbaseline = "echo-64"\nagainst = "trio"\n'
        'measures = ["cpu_us"]\nat_least = 1\n'
    )
    plan = {work.name: [peer.name for peer in servers] for work, servers in thresholds.load(path).plan()}
    assert plan == {"echo-64": ["triosock", "trio"], "echo-4000": ["triosock", "trio"]}


def test_the_file_of_the_project_is_sound_and_wants_five_rounds():
    loaded = thresholds.load()
    assert loaded.rounds >= 5
    for threshold in loaded.all:
        assert threshold.at_least > 0
        assert threshold.aim is None or threshold.aim >= threshold.at_least
