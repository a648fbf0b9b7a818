"""Fixtures for tests that start processes."""

import contextlib
import os
import select

import pytest

ENDS_WITHIN = 20_000


@pytest.fixture
def ends():
    """`ends(*pids)`: a context whose value waits for all these processes, and says whether they ended.

    A pidfd becomes readable when its process has ended, and never means a later process of the same number.
    """

    @contextlib.contextmanager
    def watch(*pids):
        fds = []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                fds.append(os.pidfd_open(pid))

        def all_ended():
            for fd in fds:
                poll = select.poll()
                poll.register(fd, select.POLLIN)
                if not poll.poll(ENDS_WITHIN):
                    return False
            return True

        try:
            yield all_ended
        finally:
            for fd in fds:
                os.close(fd)

    return watch
