"""Colours that a colour-blind reader can tell apart: the palette as it is seen with each kind of dichromacy.

The matrices are those of Machado, Oliveira and Fernandes (2009, "A Physiologically-based Model for
Simulation of Color Vision Deficiency", table 1, severity 1.0), which are applied to linear RGB. The distance
is CIE 1976, in which 2.3 is just noticeable; the bound is three times that, for patches that are not side by
side.
"""

from __future__ import annotations

import itertools
import re

import pytest

from triosock.observe.timeline.svg import STYLE

MATRICES = {
    "nothing": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
NAMES = ("waiting", "working", "handler", "shake", "failed", "cut", "cancelled", "peer")
NOTICEABLE = 2.3


def seen(colour: str, deficiency: str) -> list[float]:
    """Return the colour in CIE L*a*b*, as it is seen with the deficiency."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    red, green, blue = (
        min(1.0, max(0.0, sum(a * b for a, b in zip(row, linear, strict=True))))
        for row in MATRICES[deficiency]
    )
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    fx, fy, fz = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return [116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)]


@pytest.mark.parametrize("deficiency", MATRICES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_two_colours_look_the_same(scheme, deficiency):
    part = STYLE.split("@media (prefers-color-scheme: dark)")[scheme == "dark"]
    colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", part))
    near = {}
    for one, other in itertools.combinations(NAMES, 2):
        pairs = zip(seen(colours[one], deficiency), seen(colours[other], deficiency), strict=True)
        near[one, other] = sum((a - b) ** 2 for a, b in pairs) ** 0.5
    assert {pair: round(d, 1) for pair, d in near.items() if d < 3 * NOTICEABLE} == {}
