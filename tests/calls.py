"""Counts the calls of this library on the way of a connection, by sys.setprofile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import triosock

ROOT = Path(triosock.__file__).parent


class Calls:
    """In its block, notes each call of a function of the library that `is_counted` picks, given its frame.

    The resumption of a coroutine is no call. `names` are "file:function", in the order of the calls.
    """

    def __init__(self, is_counted: Callable[[FrameType], bool]) -> None:
        self._is_counted = is_counted
        self._seen: set[FrameType] = set()
        self.names: list[str] = []

    @property
    def files(self) -> set[str]:
        """Through which files the calls went."""
        return {name.partition(":")[0] for name in self.names}

    def __enter__(self) -> Calls:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and (file := file_of(frame)) and frame not in self._seen:
            self._seen.add(frame)
            if self._is_counted(frame):
                self.names.append(f"{file}:{frame.f_code.co_name}")


def file_of(frame: FrameType) -> str:
    """Return in which file of the library a call is, from its folder on; "" for any other."""
    name = frame.f_code.co_filename
    if name.startswith(made := "<attrs generated methods triosock."):
        module, _, _ = name.removeprefix(made).rpartition(".")
        return module.replace(".", "/") + ".py"
    path = Path(name)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""


def is_inside(frame: FrameType | None, name: str) -> bool:
    """Whether a call of the library's function `name` is under way around this one, or is this one."""
    while frame is not None:
        if frame.f_code.co_name == name and file_of(frame):
            return True
        frame = frame.f_back
    return False
