"""Names, defaults, signatures and inheritance."""

from __future__ import annotations

import inspect
import os
import selectors
import socket
import socketserver
import threading
import time
import warnings
from typing import Any

import pytest

import triosock.compat
from tests.differential.harness import MODULES, SERVERS, Log, compare, compared, make_address

CLASSES = [name for name in socketserver.__all__ if inspect.isclass(getattr(socketserver, name))]
HELPERS = ["_SocketWriter", "_Threads", "_NoThreads"]


def test_all_has_the_same_names() -> None:
    assert sorted(triosock.compat.__all__) == sorted(socketserver.__all__)


def test_star_import_gives_the_same_names() -> None:
    found: list[set[str]] = []
    for module in MODULES:
        names: dict[str, Any] = {}
        exec(f"from {module.__name__} import *", names)
        found.append(set(names) - {"__builtins__"})
    assert found[0] == found[1]


@pytest.mark.parametrize("name", CLASSES)
@compared
def test_same_class_attributes(module: Any, log: Log, name: str) -> Any:
    return {
        key: repr(value)
        for key, value in vars(getattr(module, name)).items()
        if not key.startswith("__") and not callable(value) and key != "_threads"
    }


@pytest.mark.parametrize("name", CLASSES + HELPERS)
@compared
def test_same_public_methods_and_signatures(module: Any, log: Log, name: str) -> Any:
    methods = {}
    for key, value in inspect.getmembers(getattr(module, name), inspect.isfunction):
        if key.startswith("_") and key not in UNDERSCORED:
            continue
        parameters = inspect.signature(value).parameters.values()
        methods[key] = [
            (p.name if p.name not in NAMES_IN_PASSING else "?", str(p.kind), p.default) for p in parameters
        ]
    return methods


#: The methods with an underscore that programs call or extend.
UNDERSCORED = {"__init__", "_handle_request_noblock", "__enter__", "__exit__"}
#: Positional parameters that nobody can pass by name: `__exit__(*args)` there, three names here, and the
#: like.
NAMES_IN_PASSING = {"b", "data"}


@pytest.mark.parametrize("name", CLASSES)
def test_same_bases_in_the_same_order(name: str) -> None:
    compare(lambda module, log: [kind.__name__ for kind in getattr(module, name).__mro__])


def version_of(module: Any) -> tuple[str, list[str]]:
    """The version, and what is said of asking for it: since 3.15 it is deprecated."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        return module.__version__, [str(one.message) for one in told]


def test_module_globals() -> None:
    assert version_of(triosock.compat) == version_of(socketserver)
    for module in MODULES:
        own = (module.socket, module.selectors, module.os, module.threading)
        assert own == (socket, selectors, os, threading)
        assert module.time is time.monotonic
        assert module._ServerSelector is selectors.PollSelector


@pytest.mark.parametrize("name", SERVERS)
@compared
def test_an_instance_has_the_same_attributes(module: Any, log: Log, name: str) -> Any:
    with getattr(module, name)(make_address(name), print) as server:
        own = {key: type(value).__name__ for key, value in vars(server).items()}
        one = server.socket
        options = one.gettimeout(), one.get_inheritable(), one.getblocking()
    return own, options, one.fileno()


@compared
def test_the_ready_made_classes_are_empty(module: Any, log: Log) -> Any:
    kinds = [name for name in SERVERS if name.startswith(("Thr", "Fork"))]
    # 3.13 drops the line number of a class that is given another __module__.
    return {name: sorted(set(vars(getattr(module, name))) - {"__firstlineno__"}) for name in kinds}


@compared
def test_what_is_set_on_a_base_class_counts_for_all(module: Any, log: Log, monkeypatch: Any) -> Any:
    monkeypatch.setattr(module.TCPServer, "allow_reuse_address", True)
    with module.ThreadingTCPServer(("127.0.0.1", 0), print) as server:
        assert server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
