"""The public API, policed: each name once, documented, typed, and final if it is not there to derive from."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import json
import os
import pathlib
import shutil
import subprocess
import sys
import types
from collections import Counter
from typing import Any

import pytest

import triosock
from triosock import events

ROOT = pathlib.Path(__file__).parent.parent
BIN = str(pathlib.Path(sys.executable).parent)
FACADES = [triosock, events]
#: Where their names are imported; those of the package itself when one of them is asked for.
SOURCES = {
    one: pathlib.Path(importlib.import_module(name).__file__)
    for one, name in [(triosock, "triosock._facade"), (events, "triosock.events")]
}
assert triosock.run
#: Each of them is looked at for itself, so that a complaint names its part; "native" is the rest.
OTHER_PARTS = ["compat", "dtls", "observe", "testing"]

#: What a user may write a class of, or catch by its base. All other classes are final.
TO_DERIVE_FROM = {
    *("StreamHandler", "DatagramHandler"),
    *("Listener", "SocketListener", "DatagramSocket"),
    *("Event", "ConnectionEvent"),
}


def own_public_names(module: types.ModuleType) -> set[str]:
    """Return the names that a module binds and that are neither private nor modules."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }


def public_objects() -> list[tuple[str, object]]:
    return [(f"{one.__name__}.{name}", getattr(one, name)) for one in FACADES for name in sorted(one.__all__)]


@pytest.mark.parametrize("module", FACADES, ids=lambda module: module.__name__)
def test_all_is_complete_sorted_and_without_modules(module):
    assert list(module.__all__) == sorted(module.__all__)
    assert set(module.__all__) == own_public_names(module) - {"__version__"}


@pytest.mark.parametrize("module", FACADES, ids=lambda module: module.__name__)
def test_every_name_is_exported_once(module):
    tree = ast.parse(SOURCES[module].read_text())
    bound = Counter(
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    )
    assert [name for name, times in bound.items() if times > 1] == []
    # No object under two names, either.
    objects = Counter(
        id(getattr(module, name)) for name in module.__all__ if inspect.isroutine(getattr(module, name))
    )
    assert max(objects.values(), default=1) == 1


def test_every_name_is_written_as_a_re_export_that_type_checkers_see():
    tree = ast.parse(SOURCES[triosock].read_text())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            for alias in node.names:
                public = alias.asname == alias.name
                assert public or (alias.asname or alias.name).startswith("_"), (
                    f"{alias.name}: write `as {alias.name}`"
                )


def test_all_is_a_literal_that_type_checkers_can_read():
    tree = ast.parse(pathlib.Path(triosock.__file__).read_text())
    (value,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert ast.literal_eval(value) == triosock.__all__


def test_star_import_gives_what_all_says():
    namespace: dict[str, object] = {}
    exec("from triosock import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(triosock.__all__)


def test_everything_public_has_a_docstring():
    for name, value in public_objects():
        if inspect.isclass(value):
            assert vars(value).get("__doc__"), f"{name} has no docstring of its own"
            for attribute, member in vars(value).items():
                documented = isinstance(member, (property, classmethod, staticmethod, types.FunctionType))
                if documented and not attribute.startswith("_"):
                    assert inspect.getdoc(member), f"{name}.{attribute} has no docstring"
        elif inspect.isroutine(value):
            assert value.__doc__, f"{name} has no docstring"


def test_classes_are_final_unless_they_are_there_to_be_derived_from():
    for name, value in public_objects():
        if not inspect.isclass(value):
            continue
        is_open = issubclass(value, (BaseException, enum.Enum)) or getattr(value, "_is_protocol", False)
        if is_open or value.__name__ in TO_DERIVE_FROM:
            assert not getattr(value, "__final__", False), f"{name} is final, and there to derive from"
        else:
            assert getattr(value, "__final__", False), f"{name} must be @final, or in TO_DERIVE_FROM"


def test_what_is_async_may_wait_and_nothing_else_is():
    for name in triosock.__all__:
        if name.startswith(("serve_", "wait_")):
            assert inspect.iscoroutinefunction(getattr(triosock, name)), name
        elif name.startswith(("inherited_", "parse_", "draining", "run")):
            assert not inspect.iscoroutinefunction(getattr(triosock, name)), name


def test_options_are_keyword_only():
    for name in triosock.__all__:
        value = getattr(triosock, name)
        if not inspect.isfunction(value) or name == "run":
            continue
        parameters = inspect.signature(value).parameters.values()
        positional = [one for one in parameters if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        defaults = [one.name for one in positional if one.default is not inspect.Parameter.empty]
        assert defaults == [] or name.startswith("inherited_"), f"{name}: {defaults} must be keyword-only"


@pytest.mark.parametrize(
    "name", ["triosock", "triosock.events", "triosock.testing", "triosock.cli", "triosock.observe"]
)
def test_every_public_module_says_what_it_is(name):
    assert importlib.import_module(name).__doc__


@pytest.fixture(scope="module")
def type_completeness() -> list[tuple[str, str]]:
    """What `pyright --verifytypes` says against symbols: pairs of the module's name and the complaint."""
    tool = shutil.which("pyright", path=BIN)
    if tool is None:
        pytest.skip("pyright is not installed")
    done = subprocess.run(
        [tool, "--verifytypes", "triosock", "--ignoreexternal", "--outputjson"],
        # It looks for the package with the first `python` of the path.
        env={**os.environ, "PATH": BIN + os.pathsep + os.environ["PATH"]},
        cwd=ROOT,
        capture_output=True,
        timeout=300,
    )
    report = json.loads(done.stdout)["typeCompleteness"]
    found = [
        (symbol["name"], "; ".join(map(_place, symbol["diagnostics"])))
        for symbol in report["symbols"]
        if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]
    ]
    assert found or report["completenessScore"] == 1
    return found


def _place(diagnostic: dict[str, Any]) -> str:
    text = diagnostic["message"].splitlines()[0]
    if "range" not in diagnostic:
        return text
    return f"{diagnostic['file']}:{diagnostic['range']['start']['line'] + 1}: {text}"


@pytest.mark.slow
@pytest.mark.parametrize("part", ["native", *OTHER_PARTS])
def test_every_public_type_is_known(type_completeness, part):
    complaints = [
        f"{name}: {text}"
        for name, text in type_completeness
        if part == next((other for other in OTHER_PARTS if name.startswith(f"triosock.{other}")), "native")
    ]
    assert not complaints, "\n".join(complaints)
