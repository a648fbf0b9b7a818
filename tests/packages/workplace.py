"""A folder for each package: its virtual environment, its unpacked sdist, and what its tests said.

Rules of this file:

1. A package is in an environment of its own, with triosock beside it, installed and not linked: the root of
   this project must not be importable there, since it has folders such as `tests` and `examples` too.
2. What a package's tests start is ended with them: they run in a session of their own, which is killed as a
   whole when the time is over, and nothing else is.
3. Where the system allows it, tests run in a network namespace in which there is nothing but loopback.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import attrs

from .outcomes import Outcomes, from_junit, from_unittest
from .table import Package

ROOT = Path(__file__).parents[2]
#: How long the installation of one package may take, in seconds.
INSTALL_WITHIN = 600


@attrs.frozen
class Workplace:
    """Where one package is installed and tested."""

    package: Package
    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "env" / "bin"

    @property
    def source(self) -> Path:
        """The unpacked sdist."""
        [only] = [one for one in (self.folder / "sdist").iterdir() if one.is_dir()]
        return only

    def prepare(self) -> None:
        """Install the package and its tests, unless that has been done already for this entry of the table.

        Raises: subprocess.CalledProcessError or TimeoutExpired if pip cannot.
        """
        ready, wanted = self.folder / "ready", repr(self.package)
        if not (ready.exists() and ready.read_text() == wanted):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            subprocess.run([sys.executable, "-m", "venv", self.folder / "env"], check=True)
            self._pip("install", "--upgrade", "pip", "setuptools<80", "wheel")
            self._unpack()
            self._pip("install", *self.package.requirements, "trio>=0.31", "attrs>=23.2")
            ready.write_text(wanted)
        # Where pytest ends its search for options, in the place of this project's own.
        (self.folder / "pytest.ini").touch()
        self._pip("install", "--no-deps", "--force-reinstall", str(ROOT))
        self._put_stand_in()

    def run(self, *, compat: bool, attempt: int) -> tuple[Outcomes, int]:
        """Run the package's tests, and return their outcomes and how many sockets its servers bound."""
        label = f"{'compat' if compat else 'stdlib'}-{attempt}"
        xml, log, bound = (self.folder / f"{label}.{kind}" for kind in ("xml", "log", "bound"))
        for old in (xml, bound):
            old.unlink(missing_ok=True)
        with log.open("w") as told:
            child = subprocess.Popen(
                [*_isolated(), *self.package.command(self.bin, xml)],
                cwd=self.source / self.package.cwd,
                env=self._environment(bound, compat=compat),
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                start_new_session=True,
            )
            try:
                child.wait(self.package.within)
            except subprocess.TimeoutExpired:
                told.write("\nended: the time is over\n")
            finally:
                _end_session(child)
        count = bound.stat().st_size if bound.exists() else 0
        if self.package.runner == "unittest":
            return from_unittest(log.read_text(errors="replace")), count
        return from_junit(xml), count

    def _environment(self, bound: Path, *, compat: bool) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "VIRTUAL_ENV": str(self.folder / "env"),
            "PYTEST_ADDOPTS": "-p no:triosock",
            "PYTHONHASHSEED": "0",  # some number their tests by the order of a set
            "STAND_IN_FOR_SOCKETSERVER": str(int(compat)),
            "SERVERS_BOUND": str(bound),
            **self.package.environment,
        }

    def _unpack(self) -> None:
        package, sdist = self.package, self.folder / "sdist"
        wanted = f"{package.name}=={package.version}"
        self._pip("download", "--no-deps", "--no-binary", package.name, "-d", str(sdist), wanted)
        [archive] = sdist.iterdir()
        if archive.suffix == ".zip":
            zipfile.ZipFile(archive).extractall(sdist)
        else:
            with tarfile.open(archive) as opened:
                opened.extractall(sdist, filter="data")

    def _put_stand_in(self) -> None:
        [packages] = (self.folder / "env" / "lib").glob("python*/site-packages")
        shutil.copy(Path(__file__).with_name("stand_in.py"), packages / "stand_in_for_socketserver.py")
        (packages / "stand_in_for_socketserver.pth").write_text("import stand_in_for_socketserver\n")

    def _pip(self, *arguments: str) -> None:
        command: Sequence[str | Path] = [self.bin / "python", "-m", "pip", "-q", *arguments]
        with (self.folder / "pip.log").open("a") as told:
            subprocess.run(command, check=True, stdout=told, stderr=told, timeout=INSTALL_WITHIN)


def _isolated() -> list[str]:
    """Return what to put before a command, to give it a network of its own."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return []
    enter = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    inside = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*enter, *inside, "true"], capture_output=True).returncode:
        return []
    return [*enter, *inside]


def _end_session(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()
