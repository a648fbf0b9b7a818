"""Reads a source tree and says what breaks its rules; the rules themselves are in test_architecture.py.

Everything here takes plain data and returns complaints as text, so that it can be tried on made-up trees.
"""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs


@attrs.frozen
class Source:
    """One Python file: its path from the root of the project, the name of its module, and its syntax tree."""

    path: str
    module: str
    is_package: bool
    tree: ast.Module = attrs.field(repr=False, eq=False)

    @property
    def package(self) -> str:
        """The package that its relative imports begin from."""
        return self.module if self.is_package else self.module.rpartition(".")[0]


@attrs.frozen
class Import:
    """An arrow: one module imports another. `typing_only`: under `if TYPE_CHECKING`, and never done at run
    time.
    """

    source: Source
    target: str
    line: int
    typing_only: bool

    def complain(self, why: str) -> str:
        return f"{self.source.path}:{self.line}: imports {self.target}: {why}"


def read(root: Path, package: str) -> list[Source]:
    """Return the sources of `package`, a folder of `root`, by path."""
    return [_read_one(root, path) for path in sorted((root / package).rglob("*.py"))]


def _read_one(root: Path, path: Path) -> Source:
    relative = path.relative_to(root)
    parts = relative.with_suffix("").parts
    is_package = parts[-1] == "__init__"
    module = ".".join(parts[:-1] if is_package else parts)
    return Source(relative.as_posix(), module, is_package, ast.parse(path.read_text(encoding="utf-8")))


# Imports


def imports_of(sources: Sequence[Source]) -> list[Import]:
    """Return all imports of these sources, wherever in a file they stand. Names of modules are absolute."""
    modules = {source.module for source in sources}
    return [one for source in sources for one in _imports_in(source, source.tree, modules, False)]


def _imports_in(
    source: Source, node: ast.AST, modules: Collection[str], typing_only: bool
) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(source, alias.name, node.lineno, typing_only)
    elif isinstance(node, ast.ImportFrom):
        for target in dict.fromkeys(_targets(source, node, modules)):
            yield Import(source, target, node.lineno, typing_only)
    elif isinstance(node, ast.If) and _is_type_checking(node.test):
        for child in node.body:
            yield from _imports_in(source, child, modules, True)
        for child in node.orelse:
            yield from _imports_in(source, child, modules, typing_only)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _imports_in(source, child, modules, typing_only)


def _targets(source: Source, node: ast.ImportFrom, modules: Collection[str]) -> Iterator[str]:
    base = node.module or ""
    if node.level:
        parts = source.package.split(".")
        parts = parts[: len(parts) - node.level + 1]
        base = ".".join([*parts, base] if base else parts)
    for alias in node.names:
        # `from . import wait` names a module, `from .wait import Wait` something in one.
        inner = f"{base}.{alias.name}"
        yield inner if inner in modules else base


def _is_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


# Complaints


def layer_of(module: str) -> str:
    """Return the layer of a module of the package: the name behind the package's own, or "facade" for that
    one.
    """
    return [*module.split("."), "facade"][1]


def wrong_layers(
    imports: Iterable[Import], package: str, allowed: Mapping[str, Collection[str]]
) -> list[str]:
    """Complain about arrows between layers that are not `allowed`. A module's own layer must be named there
    like the others.
    """
    complaints = []
    for one in imports:
        if one.target.split(".")[0] != package:
            continue
        layer, target = layer_of(one.source.module), layer_of(one.target)
        if layer not in allowed:
            complaints.append(one.complain(f"{layer} is in no layer"))
        elif target not in allowed[layer]:
            complaints.append(one.complain(f"{layer} may import {', '.join(allowed[layer]) or 'nothing'}"))
    return complaints


def wrong_packages(
    imports: Iterable[Import], layer: str, allowed: Mapping[str, Collection[str]]
) -> list[str]:
    """Complain about packages of `layer` ("package.folder") that import from one that they may not. A package
    may always import from itself.
    """
    complaints = []
    for one in imports:
        if not (one.source.module.startswith(layer + ".") and one.target.startswith(layer + ".")):
            continue
        importer, target = (
            name.removeprefix(layer + ".").partition(".")[0] for name in (one.source.module, one.target)
        )
        if importer not in allowed:
            complaints.append(one.complain(f"{importer} is no package that is named"))
        elif target != importer and target not in allowed[importer]:
            may = ", ".join(allowed[importer]) or "nothing"
            complaints.append(one.complain(f"{importer} may import {may}"))
    return complaints


def circles(imports: Iterable[Import], package: str) -> list[str]:
    """Complain about modules under `package` that import each other, directly or by way of others of them."""
    arrows: dict[str, set[str]] = {}
    for one in imports:
        if f"{one.source.module}.".startswith(package + ".") and f"{one.target}.".startswith(package + "."):
            arrows.setdefault(one.source.module, set()).add(one.target)
    reach = {module: _reachable(module, arrows) for module in sorted(arrows)}
    groups = {
        tuple(sorted(other for other in reach[module] if module in reach.get(other, ())))
        for module in reach
        if module in reach[module]
    }
    return [
        f"{', '.join(group)}: {'import each other' if len(group) > 1 else 'imports itself'}"
        for group in sorted(groups)
    ]


def _reachable(start: str, arrows: Mapping[str, Collection[str]]) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        for target in arrows.get(ahead.pop(), ()):
            if target not in found:
                found.add(target)
                ahead.append(target)
    return found


def wrong_targets(imports: Iterable[Import], importer: str, into: str, allowed: Collection[str]) -> list[str]:
    """Complain about modules under `importer` that import from `into` anything but the modules `allowed`."""
    return [
        one.complain(f"of {into} only {', '.join(sorted(allowed))}")
        for one in imports
        if f"{one.source.module}.".startswith(importer + ".")
        and f"{one.target}.".startswith(into + ".")
        and one.target.removeprefix(into + ".") not in allowed
    ]


def foreign(
    imports: Iterable[Import], known: Collection[str], extras: Mapping[str, Collection[str]]
) -> list[str]:
    """Complain about what is needed at run time and is neither in the standard library, nor `known`, nor one
    of the `extras` of the file (by the beginning of its path).
    """
    complaints = []
    for one in imports:
        top = one.target.split(".")[0]
        if one.typing_only or top in known or top in sys.stdlib_module_names:
            continue
        if not any(one.source.path.startswith(path) and top in names for path, names in extras.items()):
            complaints.append(one.complain("no dependency at run time"))
    return complaints


def lowlevel_names(source: Source) -> set[str]:
    """Return what a file uses of trio.lowlevel; "lowlevel" if it takes that module by name, and so hides what
    it uses.
    """
    names = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.module == "trio.lowlevel":
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "trio":
            names.update(alias.name for alias in node.names if alias.name == "lowlevel")
        elif isinstance(node, ast.Import):
            names.update("lowlevel" for alias in node.names if alias.name == "trio.lowlevel" and alias.asname)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "trio.lowlevel":
            names.add(node.attr)
    return names


def wrong_lowlevel(
    sources: Iterable[Source], anywhere: Collection[str], named: Mapping[str, Collection[str]]
) -> list[str]:
    """Complain about what files use of trio.lowlevel beyond what is allowed `anywhere`, and to those that are
    `named`.
    """
    return [
        f"{source.path}: uses trio.lowlevel.{name}"
        for source in sources
        for name in sorted(lowlevel_names(source) - set(anywhere))
        if name not in named.get(source.path, ())
    ]


def long_files(root: Path, folders: Iterable[str], suffixes: Collection[str], limit: int) -> list[str]:
    """Complain about files of more than `limit` lines."""
    complaints = []
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in suffixes:
                lines = len(path.read_text(encoding="utf-8").splitlines())
                if lines > limit:
                    complaints.append(
                        f"{path.relative_to(root).as_posix()}: {lines} lines, more than {limit}"
                    )
    return complaints


def long_functions(sources: Iterable[Source], limit: int) -> list[str]:
    """Complain about functions of more than `limit` lines, their docstring left out."""
    return [
        f"{source.path}:{node.lineno}: {node.name} has {_length(node)} lines, more than {limit}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _length(node) > limit
    ]


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    lines = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node, clean=False) is not None:
        docstring = node.body[0]
        assert docstring.end_lineno is not None
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


# Types


def loose_types(root: Path, sources: Iterable[Source]) -> dict[str, list[str]]:
    """Return where a type checker is told to believe: by "Any" (each line once, imports left out), by "cast",
    and by "ignore", a comment that has an error passed over.
    """
    found: dict[str, list[str]] = {"Any": [], "cast": [], "ignore": []}
    for source in sources:
        imports = {
            line
            for node in ast.walk(source.tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        }
        seen: set[tuple[str, int]] = set()
        before = ""
        with (root / source.path).open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                kind, line = _loose_kind(token, before), token.start[0]
                before = token.string
                if kind and line not in imports and (kind, line) not in seen:
                    seen.add((kind, line))
                    found[kind].append(f"{source.path}:{line}")
    return found


def _loose_kind(token: tokenize.TokenInfo, before: str) -> str:
    if token.type == tokenize.COMMENT:
        return "ignore" if re.search(r"(type|pyright): ignore", token.string) else ""
    if token.type == tokenize.NAME and token.string == "Any":
        return "Any"
    is_cast = token.type == tokenize.NAME and token.string == "cast" and before != "."
    return "cast" if is_cast else ""  # a memoryview has a method of this name
