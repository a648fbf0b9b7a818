"""The program of `file_guard.py`: waits for the end of its standard input, and then removes socket files.

It is run by the path of this file with ``python -I -S``, and imports nothing of triosock.

Standard input is a pipe whose writing end only the parent has. A byte in it means that nothing is left to do;
the end of the pipe without a byte means that the parent was killed. Arguments: for each file its path, its
device and its inode.
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> None:
    """Wait, and remove each file that still has its device and inode."""
    if os.read(0, 1):
        return
    for path, device, inode in zip(arguments[0::3], arguments[1::3], arguments[2::3], strict=True):
        try:
            there = os.lstat(path)
            if (there.st_dev, there.st_ino) == (int(device), int(inode)):
                os.unlink(path)
        except OSError:
            pass  # it was removed, or this user may not remove it any more


if __name__ == "__main__":
    main(sys.argv[1:])
