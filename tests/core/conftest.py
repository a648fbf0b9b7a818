"""Fixtures shared by tests of the core."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def stdlib_socket() -> Iterator[socket.socket]:
    """One that listens on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock
