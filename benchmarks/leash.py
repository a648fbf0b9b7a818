"""`python leash.py PARENT CPUS PROGRAM…`: execs PROGRAM on these processors; it is killed with the parent.

It is a separate program since code between fork and exec is not safe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, cpus, *program = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # survives exec, prctl(2)
    if os.getppid() != int(parent):
        sys.exit("the parent was gone before the leash was on")
    os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})
    os.execv(program[0], program)
