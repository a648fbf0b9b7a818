"""install() and python -m triosock.compat: programs unedited."""

from __future__ import annotations

import re
import signal
import textwrap
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
