"""A trio that is new enough must be there before anything else is imported.

An installer sees to it. Where it was overruled, the first sign would be a TypeError in the middle of a drain.
"""

from __future__ import annotations

import re
from typing import Final

import trio

#: As in pyproject.toml; from here on `CancelScope.cancel` takes a reason.
TRIO: Final = (0, 31)


def check_trio() -> None:
    """Raise ImportError, saying what to do, if this trio is too old."""
    found = re.match(r"(\d+)\.(\d+)", trio.__version__)
    if found is not None and (int(found[1]), int(found[2])) < TRIO:
        raise ImportError(
            f"triosock needs trio {'.'.join(map(str, TRIO))} or newer, and {trio.__file__} is trio "
            f"{trio.__version__}: python -m pip install --upgrade trio"
        )
