"""python -m triosock.compat SCRIPT [ARGS...] | -m MODULE [ARGS...]: run a program with triosock.compat as its
socketserver.
"""

from __future__ import annotations

import os
import runpy
import sys
from contextlib import suppress

from triosock import compat
from triosock.compat import loading
from triosock.compat.requests import table

USAGE = """usage: python -m triosock.compat [--green] SCRIPT [ARGS...]
       python -m triosock.compat [--green] -m MODULE [ARGS...]

Runs the program as `python SCRIPT` or `python -m MODULE` would, with triosock.compat in the place of
socketserver. With --green each request of a threading server has a trio task instead of a thread.
"""


def main() -> None:
    """Run the program that the command line names."""
    arguments = sys.argv[1:]
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
        return
    if arguments[:1] == ["--green"]:
        del arguments[0]
        table.all_green = True
        with suppress(RuntimeError):  # raised again when a server is made
            loading.green()
    module = arguments[:1] == ["-m"]
    if module:
        del arguments[0]
    if not arguments or arguments[0].startswith("-"):
        sys.exit(USAGE)
    compat.install()
    sys.argv[:] = arguments
    # As Python does, the first entry of the path is the script's folder, or the current one for a module. The
    # latter is there already, since this file is run as a module.
    if module:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        return
    if not os.path.exists(arguments[0]):
        sys.exit(f"{sys.executable}: can't open file {arguments[0]!r}")
    if not getattr(sys.flags, "safe_path", False):  # from 3.11 on
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
