"""install() and python -m triosock.compat: programs unedited."""

from __future__ import annotations

import py_compile
import re
import signal
import textwrap
import zipfile
from pathlib import Path

import pytest

from tests.programs import printed, python, running, tool

pytestmark = pytest.mark.slow


def passes(text: str) -> None:
    assert printed("-X", "dev", "-c", textwrap.dedent(text)) == ""


def test_everything_that_is_imported_afterwards_is_built_on_it() -> None:
    passes(
        """
        from triosock import compat
        compat.install()
        compat.install()
        import http.server, socketserver, xmlrpc.server, wsgiref.simple_server, logging.config
        assert socketserver is compat
        assert issubclass(http.server.ThreadingHTTPServer, compat.ThreadingMixIn)
        assert issubclass(xmlrpc.server.SimpleXMLRPCServer, compat.TCPServer)
        assert issubclass(wsgiref.simple_server.WSGIServer, compat.BaseServer)
        assert issubclass(http.server.BaseHTTPRequestHandler, compat.StreamRequestHandler)
        """
    )


@pytest.mark.parametrize(
    "module", ["http.server", "xmlrpc.server", "wsgiref.simple_server", "logging.config"]
)
def test_too_late_it_says_so(module: str) -> None:
    done = python("-X", "dev", "-c", f"import {module}\nfrom triosock import compat\ncompat.install()")
    assert done.returncode == 1
    assert re.search(rf"RuntimeError: install\(\) comes too late: .*\b{module}\b.* already use", done.stderr)
    assert "python -m triosock.compat" in done.stderr


def test_imported_but_not_used_yet_is_early_enough() -> None:
    passes(
        """
        import sys
        __import__("socketserver")
        from triosock import compat
        compat.install()
        import http.server
        assert issubclass(http.server.HTTPServer, compat.TCPServer)
        """
    )


def test_importing_compat_leaves_the_standard_librarys_alone_and_starts_no_thread() -> None:
    passes(
        """
        import sys, threading
        from triosock import compat
        assert "socketserver" not in sys.modules
        servers = [kind(("127.0.0.1", 0), print) for kind in (compat.TCPServer, compat.ThreadingTCPServer)]
        assert threading.active_count() == 1
        for server in servers:
            server.server_close()
        """
    )


UNUSUAL = {
    "a name that must not be imported": "sys.modules['blocked'] = None",
    "an object without a namespace": "sys.modules['thing'] = object()",
    "a module whose globals are computed": """
        class Computed(types.ModuleType):
            def __getattribute__(self, name):
                raise LookupError("not configured")
        sys.modules["computed"] = Computed("computed")
        """,
    "a global that is a proxy": """
        class Proxy:
            @property
            def __class__(self):
                raise LookupError("not configured")
        there = Proxy()
        """,
    "a class that has no hash": """
        class Kind(type):
            __hash__ = None
        class Base(metaclass=Kind):
            pass
        class Derived(Base):
            pass
        """,
    "a lazy module": """
        spec = importlib.util.find_spec("antigravity_of_this_test")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[spec.name])
        """,
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_looking_for_users_runs_no_code_of_the_program(tmp_path: Path, name: str) -> None:
    (tmp_path / "antigravity_of_this_test.py").write_text("raise LookupError('it was loaded')")
    passes(
        f"import importlib.util, sys, types\nsys.path.insert(0, {str(tmp_path)!r})\n"
        + "__import__('socketserver')\n"
        + textwrap.dedent(UNUSUAL[name])
        + "\nfrom triosock import compat\ncompat.install()"
    )


# python -m triosock.compat

SCRIPT = """
import socketserver, sys, os
import neighbour
print(__name__, sys.argv[1:], socketserver.__name__, os.path.basename(sys.argv[0]), neighbour.value)
sys.exit(5)
"""


@pytest.mark.parametrize("kind", ["script", "module"])
def test_a_script_and_a_module_run_as_by_python_itself(tmp_path: Path, kind: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "neighbour.py").write_text("value = 'found'")
    which, folder = ((tmp_path / "script.py",), None) if kind == "script" else (("-m", "script"), tmp_path)
    done = python("-m", "triosock.compat", *which, "-x", "one", cwd=folder)
    assert done.stdout == "__main__ ['-x', 'one'] triosock.compat script.py found\n"
    assert (done.returncode, done.stderr) == (5, "")


ABOUT_ITSELF = """
import os, sys
os.chdir("/")
print(os.path.isabs(__file__), __file__, sys.argv, sys.path[0], __package__)
print(type(__loader__).__name__, getattr(__spec__, "name", None), type(__builtins__).__name__, __doc__)
print(sys.modules["__main__"].__dict__ is globals(), globals().get("__cached__", "absent"))
"""


@pytest.mark.parametrize(
    "arguments", [["about.py"], ["-m", "about"], ["folder"], ["-m", "folder"], ["about.zip"], ["about.pyc"]]
)
def test_a_program_finds_its_files_and_itself_as_by_python_itself(
    tmp_path: Path, arguments: list[str]
) -> None:
    """It may change the folder of the process, as a daemon does."""
    (tmp_path / "folder").mkdir()
    for name in ("about.py", "folder/__main__.py"):
        (tmp_path / name).write_text(ABOUT_ITSELF)
    with zipfile.ZipFile(tmp_path / "about.zip", "w") as archive:
        archive.writestr("__main__.py", ABOUT_ITSELF)
    py_compile.compile(str(tmp_path / "about.py"), cfile=str(tmp_path / "about.pyc"))
    ours = python("-m", "triosock.compat", *arguments, "-x", "one", cwd=tmp_path)
    pythons = python(*arguments, "-x", "one", cwd=tmp_path)
    assert (ours.stdout, ours.stderr) == (pythons.stdout, "")
    assert ours.stdout.startswith("True ")


AFTER_THE_END = """
import pickle, socket, socketserver, threading

class Answer:
    pass

class Pickles(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(type(pickle.loads(pickle.dumps(Answer()))).__name__.encode())

def client():
    threading.main_thread().join()
    with socket.create_connection(server.server_address) as peer:
        print(peer.recv(100))
    server.shutdown()
    server.server_close()

server = socketserver.TCPServer(("127.0.0.1", 0), Pickles)
threading.Thread(target=server.serve_forever).start()
threading.Thread(target=client).start()
"""


@pytest.mark.parametrize("arguments", [["script.py"], ["-m", "script"]])
def test_threads_that_go_on_after_the_last_line_find_the_classes_of_the_program(
    tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "script.py").write_text(AFTER_THE_END)
    done = python("-m", "triosock.compat", *arguments, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("b'Answer'\n", "")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-m", "absent_here"], "No module named absent_here"),
        (["-m", "json.absent.part"], "Error while finding module specification for 'json.absent.part'"),
        (["-m", "sys"], "No code object available for"),
        (["folder"], "can't find '__main__' module in"),
    ],
)
def test_a_program_that_cannot_run(tmp_path: Path, arguments: list[str], reason: str) -> None:
    (tmp_path / "folder").mkdir()
    done = python("-m", "triosock.compat", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["package", "package.part"])
@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("raise ValueError('its own')", "ValueError: its own"),
        ("import absent_here", "ModuleNotFoundError: No module named 'absent_here'"),
        ("raise ImportError('its own')", "ImportError: its own"),
    ],
)
def test_an_error_of_a_package_keeps_its_traceback(tmp_path: Path, name: str, line: str, error: str) -> None:
    (tmp_path / "package").mkdir()
    for part in ("part", "__main__"):
        (tmp_path / "package" / f"{part}.py").touch()
    (tmp_path / "package" / "__init__.py").write_text(line)
    done = python("-m", "triosock.compat", "-m", name, cwd=tmp_path)
    assert done.returncode == 1
    assert f'__init__.py", line 1, in <module>\n    {line}\n' in done.stderr
    assert done.stderr.endswith(f"{error}\n")


@pytest.mark.parametrize("arguments", [[], ["-m"], ["-x"]])
def test_a_wrong_command_line(arguments: list[str]) -> None:
    done = python("-m", "triosock.compat", *arguments)
    assert done.returncode == 1
    assert "usage: python -m triosock.compat" in done.stderr


def test_help_and_a_missing_script() -> None:
    assert python("-m", "triosock.compat", "--help").stdout.startswith("usage:")
    done = python("-m", "triosock.compat", "missing.py")
    assert done.returncode == 1
    assert "can't open file 'missing.py'" in done.stderr


def test_http_server_fetched_by_curl(tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("hello")
    command = ["-m", "triosock.compat", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with running(*command, cwd=tmp_path) as server:
        url = server.wait_for(r"http://127\.0\.0\.1:\d+/")[0] + "page.txt"
        assert tool("curl", "-sS", "--max-time", "20", url, url) == b"hellohello"
        server.signal(signal.SIGINT)
        assert server.wait() == 0
    assert "Keyboard interrupt received, exiting." in server.output


def test_pytest_with_warnings_as_errors_does_not_mind_that_we_are_there_already(tmp_path: Path) -> None:
    """pytest wants to rewrite the assertions of every distribution with a plugin, and warns of each module
    that it finds imported. Where triosock is a link to its source, as here, pytest has to be told of it.
    """
    case = "import socketserver\ndef test_it():\n    assert socketserver.__name__ == 'triosock.compat'\n"
    (tmp_path / "test_it.py").write_text(case)
    (tmp_path / "linked.py").write_text("import pytest\npytest.register_assert_rewrite('triosock')\n")
    options = ("-q", "-p", "no:cacheprovider", "-p", "linked", "-W", "error", "--rootdir", str(tmp_path))
    done = python("-m", "triosock.compat", "-m", "pytest", *options, str(tmp_path), cwd=tmp_path)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
