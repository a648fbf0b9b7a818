"""The report of a seed that failed: the error, the command to run it again, and the faults."""

from __future__ import annotations

from typing import Final

from .run import Outcome, Plan

#: The maximum of faults in a report.
_MOST_MARKS: Final = 30


def failure_text(
    plan: Plan, seed: int, outcome: Outcome, shortest: Outcome, notes: str, pictures: list[str]
) -> str:
    """Return the report. `shortest` is the run of the shortest schedule, `notes` say how that was found,
    `pictures` are the lines about its pictures.
    """
    tape = trimmed(shortest.tape)
    name = getattr(plan.scenario, "__name__", "scenario")
    again = f"{plan.again}{seed}" if plan.again else f"simulate({name}, seeds=[{seed}], faults=…)"
    lines = [
        f"seed {seed} fails: {_error(outcome.error)}",
        f"  run it again:      {again}",
        f"  shortest schedule: {sum(map(bool, tape))} of {len(shortest.tape)} choices are not 0, "
        f"{shortest.journal.steps} steps instead of {outcome.journal.steps} ({notes})",
        f"  run that one:      simulate({name}, tape={list(tape)}, faults=…)",
    ]
    if _error(shortest.error) != _error(outcome.error):
        lines.append(f"  it fails with:     {_error(shortest.error)}")
    lines.append(f"  tasks run in order of: {shortest.order}")
    lines += [f"  {time:10.6f} s  {text}" for time, text in shortest.marks[:_MOST_MARKS]]
    if len(shortest.marks) > _MOST_MARKS:
        lines.append(f"  and {len(shortest.marks) - _MOST_MARKS} more")
    lines += [f"  {line}" for line in pictures]
    return "\n".join(lines)


def trimmed(tape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the tape without the zeros at its end, which are implied."""
    length = len(tape)
    while length and not tape[length - 1]:
        length -= 1
    return tape[:length]


def _error(error: BaseException | None) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; and ".join(map(_error, error.exceptions))
    notes = "; ".join(getattr(error, "__notes__", ()))
    text = str(error) or type(error).__name__
    return f"{type(error).__name__}: {text}{f' ({notes})' if notes else ''}"
