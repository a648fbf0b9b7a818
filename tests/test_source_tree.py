"""The checks of the architecture, tried on made-up trees that break its rules."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.source_tree import (
    Source,
    circles,
    foreign,
    imports_of,
    long_files,
    long_functions,
    loose_types,
    lowlevel_names,
    read,
    wrong_layers,
    wrong_lowlevel,
    wrong_packages,
    wrong_targets,
)

Made = Callable[[dict[str, str]], list[Source]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Write files, by path below the package `made`, and read them."""

    def make(files: dict[str, str]) -> list[Source]:
        for name, text in files.items():
            path = tmp_path / "made" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return read(tmp_path, "made")

    return make


def arrows(sources: list[Source]) -> list[tuple[str, str, bool]]:
    return [(one.source.module, one.target, one.typing_only) for one in imports_of(sources)]


def test_every_way_to_write_an_import_is_an_arrow(made: Made) -> None:
    sources = made(
        {
            "__init__.py": "",
            "a.py": "import made.b\nimport os.path, made.sub.c as c",
            "b.py": "from . import a\nfrom .sub import c, thing\nfrom made import missing",
            "sub/__init__.py": "from .c import x\nfrom .. import a",
            "sub/c.py": "from ..b import y as z",
        }
    )
    assert sorted(arrows(sources)) == sorted(
        [
            ("made.a", "made.b", False),
            ("made.a", "os.path", False),
            ("made.a", "made.sub.c", False),
            ("made.b", "made.a", False),
            ("made.b", "made.sub.c", False),
            ("made.b", "made.sub", False),
            ("made.b", "made", False),
            ("made.sub", "made.sub.c", False),
            ("made.sub", "made.a", False),
            ("made.sub.c", "made.b", False),
        ]
    )


@pytest.mark.parametrize(
    ("text", "typing_only"),
    [
        ("def late():\n    if True:\n        import x", False),
        ("try:\n    import x\nexcept ImportError:\n    pass", False),
        ("if TYPE_CHECKING:\n    import x", True),
        ("import typing\nif typing.TYPE_CHECKING:\n    if True:\n        import x", True),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import x", False),
        ("class A:\n    def f(self):\n        with y:\n            import x", False),
    ],
)
def test_imports_are_found_wherever_they_stand(made: Made, text: str, typing_only: bool) -> None:
    assert ("made.a", "x", typing_only) in arrows(made({"a.py": text}))


def test_an_arrow_between_the_wrong_layers_is_found(made: Made) -> None:
    allowed = {"facade": ["_core"], "_core": ["_core"], "compat": ["compat", "facade", "_core"]}
    good = {
        "__init__.py": "from ._core.a import x",
        "_core/a.py": "import os",
        "_core/b.py": "from .a import x",
        "compat/__init__.py": "import made\nfrom made import x\nfrom .._core import b\nfrom . import c",
        "compat/c.py": "",
    }
    assert wrong_layers(imports_of(made(good)), "made", allowed) == []
    bad = {
        "_core/a.py": "if TYPE_CHECKING:\n    from ..compat.c import y",
        "_core/b.py": "def late():\n    import made",
        "extra.py": "from ._core import a",
    }
    assert wrong_layers(imports_of(made(bad)), "made", allowed) == [
        "made/_core/a.py:2: imports made.compat.c: _core may import _core",
        "made/_core/b.py:2: imports made: _core may import _core",
        "made/extra.py:1: imports made._core.a: extra is in no layer",
    ]


def test_an_arrow_to_a_package_that_is_not_allowed_is_found(made: Made) -> None:
    tree = {
        "_core/a/x.py": "import os",
        "_core/b/y.py": "from ..a.x import z\nfrom . import w",
        "_core/b/w.py": "def late():\n    from ..a import x",
        "compat.py": "from ._core.b import y",
    }
    imports = imports_of(made(tree))
    assert wrong_packages(imports, "made._core", {"a": [], "b": ["a"]}) == []
    assert wrong_packages(imports, "made._core", {"a": [], "b": []}) == [
        "made/_core/b/w.py:2: imports made._core.a.x: b may import nothing",
        "made/_core/b/y.py:1: imports made._core.a.x: b may import nothing",
    ]
    assert wrong_packages(imports, "made._core", {"a": []}) == [
        "made/_core/b/w.py:2: imports made._core.a.x: b is no package that is named",
        "made/_core/b/y.py:1: imports made._core.a.x: b is no package that is named",
        "made/_core/b/y.py:2: imports made._core.b.w: b is no package that is named",
    ]


def test_a_circle_is_found_however_its_arrows_are_written(made: Made) -> None:
    tree = {
        "_core/a.py": "if TYPE_CHECKING:\n    from .b import x",
        "_core/b.py": "def late():\n    from . import c",
        "_core/c.py": "from .a import y",
        "_core/d.py": "from .a import y",
        "e.py": "from ._core import a",
    }
    assert circles(imports_of(made(tree)), "made._core") == [
        "made._core.a, made._core.b, made._core.c: import each other"
    ]
    assert circles(imports_of(made({"_core/b.py": ""})), "made._core") == []
    itself = {"_core/b.py": "", "_core/a.py": "def late():\n    from . import a"}
    assert circles(imports_of(made(itself)), "made._core") == ["made._core.a: imports itself"]


def test_an_observer_that_knows_too_much_is_found(made: Made) -> None:
    tree = {
        "_core/events.py": "",
        "_core/registry.py": "",
        "observe/log.py": "from .._core.events import Event\nfrom .._core import registry",
        "observer.py": "from ._core import registry",
    }
    assert wrong_targets(imports_of(made(tree)), "made.observe", "made._core", ["events"]) == [
        "made/observe/log.py:2: imports made._core.registry: of made._core only events"
    ]


def test_a_package_that_is_not_installed_with_us_is_found(made: Made) -> None:
    tree = {
        "a.py": "import os, trio.lowlevel, requests.auth\nfrom made import b",
        "b.py": "if TYPE_CHECKING:\n    import typing_extensions",
        "extra/c.py": "import rich",
        "d.py": "import rich",
    }
    assert foreign(imports_of(made(tree)), ["made", "trio"], {"made/extra/": ["rich"]}) == [
        "made/a.py:1: imports requests.auth: no dependency at run time",
        "made/d.py:1: imports rich: no dependency at run time",
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import trio\ntrio.lowlevel.wait_readable(x)", {"wait_readable"}),
        ("from trio.lowlevel import checkpoint, ParkingLot", {"checkpoint", "ParkingLot"}),
        ("from trio import lowlevel\nlowlevel.wait_readable(x)", {"lowlevel"}),
        ("import trio.lowlevel as low\nlow.wait_readable(x)", {"lowlevel"}),
        ("import trio\nx: trio.lowlevel.Task", {"Task"}),
        ("import trio\ntrio.sleep(1)", set()),
    ],
)
def test_what_is_used_of_trio_lowlevel_is_found(made: Made, text: str, names: set[str]) -> None:
    (source,) = made({"a.py": text})
    assert lowlevel_names(source) == names
    expected = [f"made/a.py: uses trio.lowlevel.{name}" for name in sorted(names - {"Task"})]
    assert wrong_lowlevel([source], ["Task"], {}) == expected
    assert wrong_lowlevel([source], ["Task"], {"made/a.py": names}) == []


def test_a_file_with_one_line_too_many_is_found(made: Made, tmp_path: Path) -> None:
    made({"short.py": "x\n" * 10, "long.py": "x\n" * 11, "long.txt": "x\n" * 11, "sub/long.js": "x\n" * 12})
    assert long_files(tmp_path, ["made"], [".py", ".js"], 10) == [
        "made/long.py: 11 lines, more than 10",
        "made/sub/long.js: 12 lines, more than 10",
    ]


def test_a_function_with_one_line_too_many_is_found(made: Made) -> None:
    tree = {
        "a.py": "class A:\n    async def f(self):\n" + "        x\n" * 9,
        "b.py": '@decorated\ndef f():\n    """Text.\n\n    More."""\n' + "    x\n" * 10,
    }
    sources = made(tree)
    assert long_functions(sources, 10) == ["made/b.py:2: f has 11 lines, more than 10"]
    assert long_functions(sources, 11) == []


def test_what_a_type_checker_must_believe_is_found(made: Made, tmp_path: Path) -> None:
    sources = made(
        {
            "__init__.py": "",
            "loose.py": """
                from typing import Any, cast

                one: dict[Any, Any] = {}  # Any comment
                two = cast("int", one)
                three = memoryview(b"").cast("B")
                four: int = ""  # type: ignore[assignment]
                five: int = ""  # pyright: ignore[reportAssignmentType]
                text = "Any"
            """,
        }
    )
    assert loose_types(tmp_path, sources) == {
        "Any": ["made/loose.py:4"],
        "cast": ["made/loose.py:5"],
        "ignore": ["made/loose.py:7", "made/loose.py:8"],
    }
