"""The options of `serve_*`, as a type for those who pass them on, are those of the functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import get_type_hints

import pytest

import triosock
from triosock._core.datagram.options import DatagramOptions
from triosock._core.stream.options import ServeOptions


@pytest.mark.parametrize(
    ("options", "function", "besides"),
    [
        (ServeOptions, triosock.serve_listeners, {"task_status"}),
        (DatagramOptions, triosock.serve_datagram_sockets, {"max_bytes", "task_status"}),
    ],
)
def test_the_type_has_the_options_of_the_function(
    options: type, function: Callable[..., object], besides: set[str]
) -> None:
    parameters = inspect.signature(function).parameters.values()
    named = [one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY]
    hints = get_type_hints(function)
    assert get_type_hints(options) == {name: hints[name] for name in named if name not in besides}
