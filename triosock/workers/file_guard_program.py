"""The process of `file_guard.py`: waits for the end of its standard input, and then removes socket files.

It is run by the path of this file with ``python -I -S``, and imports nothing of triosock.

Standard input is a pipe whose writing end only the parent has. A byte in it says that there is nothing left
to do; its end alone, that the parent was killed. Arguments: for each file its path, its device and its inode.
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> None:
    """Wait, and remove what is still the same file."""
    if os.read(0, 1):
        return
    for path, device, inode in zip(arguments[0::3], arguments[1::3], arguments[2::3], strict=True):
        try:
            there = os.lstat(path)
            if (there.st_dev, there.st_ino) == (int(device), int(inode)):
                os.unlink(path)
        except OSError:
            pass  # it is gone, or not ours to remove any more


if __name__ == "__main__":
    main(sys.argv[1:])
