"""Says what is wrong with an sdist and a wheel, by what is in them. Usage: dist-contents.py FOLDER"""

import pathlib
import sys
import tarfile
import zipfile

ROOT = pathlib.Path(__file__).parents[1]
#: What the source tree has for those who work on the library, and every one of whom gets with the sdist.
IN_SDIST = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "pyproject.toml",
    "tests/conftest.py",
    "docs/conf.py",
    "Makefile",
]


def complaints(folder: pathlib.Path) -> list[str]:
    """Return what is wrong, a sentence each."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "triosock").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        metadata = opened.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    ours = {name for name in names if ".dist-info/" not in name}
    found = [f"the wheel lacks {name}" for name in sorted(package - ours)]
    found += [f"the wheel has {name}, which no user runs" for name in sorted(ours - package)]
    found += [] if "triosock/py.typed" in ours else ["the wheel lacks py.typed"]
    with tarfile.open(sdist) as opened:
        inner = {name.partition("/")[2] for name in opened.getnames()}
    found += [f"the sdist lacks {name}" for name in [*IN_SDIST, *sorted(package)] if name not in inner]
    version = next(line for line in metadata.splitlines() if line.startswith("Version: ")).partition(": ")[2]
    changes = (ROOT / "CHANGELOG.md").read_text()
    if not any(line.startswith(f"## {version}") for line in changes.splitlines()):
        found.append(f"CHANGELOG.md has no heading for version {version}")
    return found


if __name__ == "__main__":
    wrong = complaints(pathlib.Path(sys.argv[1]))
    print("\n".join(wrong) or "sdist and wheel have what they should")
    sys.exit(bool(wrong))
