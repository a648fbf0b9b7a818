"""Texts for people, which the tree, the timeline and the terminal view show.

The invariants:

1. **No control character from a peer reaches a terminal or a page.** Names of sockets, PROXY headers and
   texts of errors come from outside; a control character in them could clear a screen. (Pages also escape
   HTML.)
2. **Every exception of a handler has a text here.** Its own `__str__` may raise; an observer that raised that
   error would be detached because of one connection.
"""

from __future__ import annotations

import math


def text_of(value: object) -> str:
    """Return `str(value)`; if that raises an `Exception`, a text in angle brackets that says so."""
    try:
        return str(value)
    except Exception as error:  # of the user's code: whatever it is, the value has no text
        return f"<str() has raised {type(error).__name__}>"


def printable(text: object, most: int = 300) -> str:
    """Return `str(text)`, shortened to `most` characters, as one line: characters that are not printable are
    then written as escapes.
    """
    line = text_of(text)
    if len(line) > most:
        line = line[: most - 1] + "…"
    if line.isprintable():
        return line
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in line)


def duration(seconds: float) -> str:
    """Return the text of a duration: "340 µs", "12.5 ms", "3.21 s", "4 min 10 s", "2 h 5 min"; "no limit" for
    inf.
    """
    if not math.isfinite(seconds):
        return "no limit" if seconds > 0 else "-"
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.0f} µs" if seconds else "0 s"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def count(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: "1 request", "2 requests", "12,000 requests"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def error_text(error: BaseException | None) -> str | None:
    """Return the class and the text of an error, as in "ValueError: too long"; None if there is no error."""
    if error is None:
        return None
    says = printable(error)
    return f"{type(error).__name__}: {says}" if says else type(error).__name__
