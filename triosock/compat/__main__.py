"""python -m triosock.compat SCRIPT [ARGS...] | -m MODULE [ARGS...]: run a program with triosock.compat as its
socketserver.

The invariant: **the program's `__main__` stays in `sys.modules` until the process ends**, since threads of
the program go on after its last line, and pickle looks its classes up there. Rejected: the functions of
`runpy`, which restore the former `__main__` at their end.
"""

from __future__ import annotations

import builtins
import os
import pkgutil
import sys
from contextlib import suppress
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader, SourcelessFileLoader
from importlib.util import find_spec
from types import CodeType, ModuleType

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
    if module:
        _run_module(arguments[0])
    elif not os.path.exists(arguments[0]):
        sys.exit(f"{sys.executable}: can't open file {arguments[0]!r}")
    elif pkgutil.get_importer(arguments[0]) is None:
        _run_file(arguments[0])
    else:
        _run_folder(arguments[0])


def _run_file(path: str) -> None:
    """Run a script. Its `__file__` is absolute, since it may change the folder of the process."""
    absolute = os.path.abspath(path)
    if not getattr(sys.flags, "safe_path", False):  # from 3.11 on
        sys.path[0] = os.path.dirname(absolute)
    if path.endswith(".pyc"):
        compiled = SourcelessFileLoader("__main__", absolute)
        _run(compiled.get_code("__main__"), __file__=absolute, __loader__=compiled, __cached__=None)
    else:
        loader = SourceFileLoader("__main__", absolute)
        code = loader.source_to_code(loader.get_data(absolute), absolute)
        _run(code, __file__=absolute, __loader__=loader, __cached__=None)


def _run_folder(path: str) -> None:
    """Run the `__main__.py` of a folder or a zip file."""
    absolute = os.path.abspath(path)
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]
    sys.path.insert(0, absolute)
    spec = PathFinder.find_spec("__main__", [absolute])
    if spec is None:
        sys.exit(f"{sys.executable}: can't find '__main__' module in {absolute!r}")
    _run_spec(spec)


def _run_module(name: str) -> None:
    """Run a module, or the `__main__` of a package. The first entry of the path is the current folder
    already, since this file is run as a module.
    """
    sys.argv[0] = "-m"  # as Python does until the module is found
    spec = _find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = _find_spec(f"{name}.__main__")
    if spec is None:
        sys.exit(f"{sys.executable}: No module named {name}, or it is a package without a __main__")
    sys.argv[0] = spec.origin or name
    _run_spec(spec)


def _find_spec(name: str) -> ModuleSpec | None:
    """Return the spec of a module, or None. Its package is imported before the search, so that an exception
    of the package's own code keeps its traceback, as by `runpy`.
    """
    package = "" if name.startswith(".") else name.rpartition(".")[0]
    if package:
        try:
            import_module(package)
        except ImportError as error:
            # That the package itself is absent is found again below.
            if error.name is None or not f"{package}.".startswith(f"{error.name}."):
                raise
    try:
        return find_spec(name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        sys.exit(f"{sys.executable}: Error while finding module specification for {name!r} ({error})")


def _run_spec(spec: ModuleSpec) -> None:
    # Not every loader that has it is an `InspectLoader`: that of zip files is none.
    get_code = getattr(spec.loader, "get_code", None)
    _run(
        None if get_code is None else get_code(spec.name),
        __spec__=spec,
        __loader__=spec.loader,
        __package__=spec.parent,
        __file__=spec.origin,
        __cached__=spec.cached,
    )


def _run(code: CodeType | None, **attributes: object) -> None:
    """Run the code as the program's `__main__`."""
    if code is None:
        sys.exit(f"{sys.executable}: No code object available for {attributes['__file__']}")
    if "__cached__" not in globals():
        del attributes["__cached__"]  # this Python sets it for no module
    program = ModuleType("__main__")
    vars(program).update(attributes, __builtins__=builtins)
    sys.modules["__main__"] = program
    exec(code, vars(program))


if __name__ == "__main__":
    main()
