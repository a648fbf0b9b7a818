"""The metrics of all workers as one text in the format of Prometheus: each sample gets a label `worker`.

Rule: the lines of one family are together, with one HELP and one TYPE, as the format demands. Nothing is
summed: a query does that, and it knows a counter that begins at 0 again when its worker is replaced
(`rate()`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: A sample: its name, its labels, and its value with an optional timestamp.
_SAMPLE: Final = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?( .*)")
_COMMENT: Final = re.compile(r"# (?:HELP|TYPE) ([a-zA-Z_:][\w:]*) ")


def merge_metrics(texts: Iterable[tuple[int, str]]) -> str:
    """Merge `texts`, pairs of a worker's number and its text, into one text."""
    families: dict[str, tuple[list[str], list[str]]] = {}
    for worker, text in texts:
        family = ""
        for line in text.splitlines():
            if comment := _COMMENT.match(line):
                family = comment[1]
                comments, _ = families.setdefault(family, ([], []))
                if line not in comments:
                    comments.append(line)
            elif sample := _SAMPLE.fullmatch(line):
                name, labels, rest = sample.groups()
                more = f'worker="{worker}"' + (f",{labels}" if labels else "")
                # A sample without a comment before it is a family by itself.
                whose = family if name.startswith(family) and family else name
                families.setdefault(whose, ([], []))[1].append(f"{name}{{{more}}}{rest}")
    return "".join(line + "\n" for comments, samples in families.values() for line in (*comments, *samples))
