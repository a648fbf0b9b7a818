"""`@pytest.mark.simulate` in a separate pytest, as another project's test suite uses it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.testing.test_plugin import LOADED, ROOT

TESTS = """
import pytest
from triosock.testing import Faults, World

async def careless(conn):
    while line := await conn.receive_some(100):
        assert line.endswith(b"\\n"), f"{line!r} is no line"
        await conn.send_all(line.upper())

async def ask(world, server):
    conn = await world.connect(server)
    await conn.send_all(b"hello\\n")
    assert await conn.receive_until(b"\\n") == b"HELLO\\n"

SEEDS = []

@pytest.fixture
def times():
    return 2

@pytest.mark.simulate(seeds=7)
async def test_kind(world, times):
    SEEDS.append(world.seed)
    server = await world.serve(careless)
    for _ in range(times):
        world.client(ask, world, server)

def test_seeds():
    print("SEEDS", SEEDS)

class TestIt:
    @pytest.mark.simulate(seeds=50, faults=Faults(cuts=0.5))
    async def test_cuts(self, world: World):
        server = await world.serve(careless)
        world.client(ask, world, server)
"""


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "test_one.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\ntrio_mode = true\nfilterwarnings = error\naddopts = --strict-markers\n"
    )

    def run(*options: str) -> str:
        return pytest_in(tmp_path, "-p", "pytest_trio.plugin", *LOADED, *options)

    return run


def pytest_in(folder, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout + done.stderr


def test_marked_tests_are_simulated_beside_pytest_trio(suite, tmp_path):
    told = suite("-rA")
    assert "1 failed, 2 passed" in told, told
    assert "SEEDS [0, 1, 2, 3, 4, 5, 6]" in told
    assert "is no line" in told
    assert 'run it again:      pytest "test_one.py::TestIt::test_cuts" --simulate-seed' in told
    found = list(tmp_path.glob(".pytest_cache/d/simulate/*/test_cuts-seed-*.html"))
    pictures = [path for path in found if not path.name.endswith(".play.html")]
    assert (len(pictures), len(found)) == (1, 2)
    assert "is split into pieces of at most" in pictures[0].read_text()


def test_seeds_may_be_said_on_the_command_line(suite):
    kind = ["-rA", "-k", "kind or test_seeds"]
    assert "SEEDS [0, 1]" in suite(*kind, "--simulate-seeds", "2")
    assert "SEEDS [41]" in suite(*kind, "--simulate-seed", "41")
    assert "SEEDS [0]" in suite(*kind, "--simulate-within", "0")
    assert "within must be a number of seconds from 0 on, " in suite("--simulate-within", "-1")


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ("@pytest.mark.simulate\ndef test_x(world): pass", "must be an async function"),
        ("@pytest.mark.simulate\nasync def test_x(): pass", "with an argument `world`"),
        ("@pytest.mark.simulate(200)\nasync def test_x(world): pass", "must be named"),
    ],
    ids=["sync", "without", "positional"],
)
def test_a_wrong_mark_is_named(suite, tmp_path, test, told):
    (tmp_path / "test_one.py").write_text(f"import pytest\n{test}\n")
    assert told in suite()


def test_it_needs_no_pytest_trio(tmp_path):
    (tmp_path / "test_one.py").write_text(TESTS)
    told = pytest_in(tmp_path, *LOADED, "-W", "error", "-k", "kind", "--strict-markers")
    assert "1 passed" in told, told


SKIPS = """
import pytest

@pytest.mark.simulate(seeds=3)
async def test_skip(world):
    pytest.skip("not on this machine")

@pytest.mark.simulate(seeds=3)
async def test_skip_of_a_client(world):
    async def leave():
        pytest.skip("not on this machine")
    world.client(leave)
    world.client(leave)

@pytest.mark.simulate(seeds=3)
async def test_known(world):
    pytest.xfail("known")

@pytest.mark.simulate(seeds=3)
async def test_fail(world):
    with pytest.raises(ValueError):
        await world.sleep(1)
"""


def test_a_skip_is_no_failure_of_a_seed(suite, tmp_path):
    (tmp_path / "test_one.py").write_text(SKIPS)
    told = suite("-ra")
    assert "1 failed, 2 skipped, 1 xfailed" in told, told
    assert "not on this machine" in told
    assert "seed 0 fails: Failed: DID NOT RAISE" in told


NAMES = """
import pytest

@pytest.mark.simulate(seeds=1)
@pytest.mark.parametrize("x", [
    pytest.param(1, id="\\u00e9" * 150), pytest.param(2, id="a b"), pytest.param(3, id="a-b"),
    pytest.param(4, id='"$HOME"'),
])
async def test_fails(world, x):
    assert x == 0
"""


#: A shell must expand nothing in it.
HOME = """'test_one.py::test_fails["$HOME"]'"""


def test_any_name_of_a_test_has_a_picture_of_its_own_and_a_command(suite, tmp_path):
    (tmp_path / "test_one.py").write_text(NAMES)
    told = suite("-rA")
    assert "4 failed" in told, told
    assert "OSError" not in told
    assert len(list(tmp_path.glob(".pytest_cache/d/simulate/*/test_fails-seed-0.play.html"))) == 4
    commands = re.findall(r"^E +run it again: +pytest (.*) --simulate-seed 0$", told, re.MULTILINE)
    assert commands[1:] == ['"test_one.py::test_fails[a b]"', '"test_one.py::test_fails[a-b]"', HOME]


def test_a_cache_that_cannot_be_written_costs_the_pictures_only(suite, tmp_path):
    (tmp_path / "a_file").write_text("")
    told = suite("-rA", "-o", "cache_dir=a_file/cache", "-W", "ignore")
    assert "1 failed, 2 passed" in told, told
    assert "is no line" in told
