"""The pytest plugin in a separate pytest, as another project's test suite uses it."""

from tests.programs import ROOT, printed, python

# As the entry point does it, for interpreters where triosock is only on the path.
LOADED = ("-p", "triosock.testing.plugin")

TESTS = """
import pytest, trio
from triosock.testing import Recorder

async def shout(conn):
    async for line in conn.lines():
        await conn.send_all(line.upper())

async def test_open_server(open_server, autojump_clock):
    served = await open_server(shout)
    client = await served.connect()
    await client.send_all(b"hi\\n")
    assert await client.receive_until(b"\\n") == b"HI\\n"

async def test_two_servers(open_server, recorder, memory_network, autojump_clock):
    await open_server(shout)
    other = await open_server(shout, listeners=[memory_network("x")], observers=[recorder])
    assert str(other.server.addresses[0]) == "memory://x"
    await other.connect()
    assert recorder.events

async def test_fails(open_server, autojump_clock):
    async def stay(conn):
        conn.server._registry._slots += 1
    served = await open_server(stay)
    client = await served.connect()
    await client.receive_some()
"""


def run_pytest(folder, *options):
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *options)
    return python(*words, cwd=folder, env=environment)


def test_the_fixtures_serve_and_look_what_is_left(tmp_path):
    (tmp_path / "test_one.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    done = run_pytest(tmp_path, "-p", "pytest_trio.plugin", *LOADED)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert "slots are taken" in done.stdout


def test_without_pytest_trio_it_does_nothing(tmp_path):
    (tmp_path / "test_one.py").write_text("def test_plain(recorder=None): pass\n")
    done = run_pytest(tmp_path, *LOADED, "-W", "error")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    listed = run_pytest(tmp_path, *LOADED, "--fixtures")
    assert "memory_network" not in listed.stdout


def test_it_loads_no_test_library_of_its_own():
    unwanted = {"pytest", "pytest_trio", "hypothesis"}
    code = f"import sys, triosock.testing.plugin; print(sorted({unwanted} & {{*sys.modules}}))"
    assert printed("-c", code, cwd=ROOT) == "[]\n"
