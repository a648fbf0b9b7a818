"""The result as Markdown: first the ratios, which mean something, then the figures that they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .peers import BY_NAME as PEERS
from .ratios import Ratio, all_ratios, figures, middle
from .rounds import Result
from .thresholds import Verdict
from .works import BY_NAME as WORKS

#: Figure, heading, digits after the point.
COLUMNS = [
    ("rate", "per second", 0),
    ("cpu_us", "CPU µs each", 1),
    ("p50_us", "p50 µs", 0),
    ("p99_us", "p99 µs", 0),
    ("p999_us", "p99.9 µs", 0),
    ("rss_mib", "memory MiB", 1),
    ("idle_kib", "KiB each", 2),
    ("drain_ms", "drained ms", 1),
    ("idle_ms", "idle ended ms", 1),
    ("busy_ms", "busy ended ms", 1),
    ("answered", "answered", 0),
    ("resets", "resets", 0),
    ("shutdown_ms", "shutdown ms", 2),
    ("loader_busy", "load busy", 2),
]
MEASURES = {
    "rate": "rate",
    "cpu_us": "CPU",
    "p99_us": "p99",
    "idle_kib": "memory",
    "drain_ms": "drain",
    "shutdown_ms": "shutdown",
}


def markdown(result: Result, verdicts: Sequence[Verdict] = ()) -> str:
    bounds = {
        (one.ratio.work, one.ratio.measure, one.ratio.of, one.ratio.against): one
        for one in verdicts
        if one.ratio
    }
    lines = [*heading(result), "", *ratio_table(result, bounds)]
    for name, samples in result.samples.items():
        work = WORKS[name]
        lines += ["", f"### {work.title} ({work.unit})", "", *figure_table(samples)]
    return "\n".join(lines) + "\n"


def more_rounds(result: Result) -> str:
    most = max((len(one) for servers in result.samples.values() for one in servers.values()), default=0)
    return f"; {most} of what was close to a bound" if most > result.effort.rounds else ""


def heading(result: Result) -> Iterator[str]:
    effort, on = result.effort, result.machine
    versions = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
    yield (
        f"Python {on['python']}, Linux {on['kernel']}, {on['processors']} processors; {versions}. "
        f"{effort.rounds} rounds, {effort.seconds} s each{more_rounds(result)}."
    )
    if result.cut_short:
        yield "\n**Cut short:** the budget of time was used up before the last round ended."
    for line in result.skipped:
        yield f"\nSkipped: {line}."


def ratio_table(result: Result, bounds: dict[tuple[str, str, str, str], Verdict]) -> Iterator[str]:
    yield "| work | of | against | ratio of | median | lowest to highest | at least | aim |"
    yield "|---|---|---|---|---|---|---|---|"
    extra = [one.ratio for one in bounds.values() if one.threshold.baseline and one.ratio]
    for ratio in [*all_ratios(result), *extra]:
        verdict = bounds.get((ratio.work, ratio.measure, ratio.of, ratio.against))
        yield ratio_row(ratio, verdict)


def ratio_row(ratio: Ratio, verdict: Verdict | None) -> str:
    low, high = ratio.spread
    title = WORKS[ratio.work].title if ratio.work in WORKS else f"growth, {ratio.work}"
    at_least = aim = ""
    median = f"{ratio.median:.2f}"
    if verdict is not None:
        at_least = f"{verdict.threshold.at_least:.2f}"
        aim = f"{verdict.threshold.aim:.2f}" if verdict.threshold.aim is not None else ""
        median = median if verdict.passed else f"**{median}**"
    of, against = PEERS[ratio.of].label, PEERS[ratio.against].label
    spread = f"{low:.2f} to {high:.2f}"
    cells = [title, of, against, MEASURES.get(ratio.measure, ratio.measure), median, spread, at_least, aim]
    return f"| {' | '.join(cells)} |"


def figure_table(samples: dict[str, list[dict[str, float]]]) -> Iterator[str]:
    """Medians over the rounds; losses are the sum of all rounds, as a share of what was sent."""
    columns = [one for one in COLUMNS if any(figures(taken, one[0]) for taken in samples.values())]
    losing = any(sum(figures(taken, "lost")) for taken in samples.values())
    yield "| server | " + " | ".join([title for _, title, _ in columns] + ["lost"] * losing) + " |"
    yield "|---" * (len(columns) + 1 + losing) + "|"
    for name, taken in samples.items():
        cells = [PEERS[name].label]
        for measure, _, digits in columns:
            value = middle(taken, measure)
            cells.append("" if value is None else f"{value:,.{digits}f}")
        if losing:
            lost, answered = sum(figures(taken, "lost")), sum(figures(taken, "count"))
            cells.append(f"{lost / (lost + answered):.1%}" if lost else "0")
        failures = [sample["error"] for sample in taken if "error" in sample]
        if failures:
            cells[0] += f" ({len(failures)} of {len(taken)} failed)"
        yield f"| {' | '.join(cells)} |"
