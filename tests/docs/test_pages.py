"""The sources of the pages: every public name is in the reference, every block is run, every link holds."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import types

import pytest

import triosock
import triosock.compat
import triosock.events
import triosock.notify
import triosock.observe
import triosock.testing
import triosock.testing.simulation
from tests.docs.units import DOCS
from tests.programs import ROOT, python

PAGES = sorted(
    path for kind in ("md", "rst") for path in DOCS.rglob(f"*.{kind}") if "_build" not in path.parts
)
#: What needs an extra, which the tests may not have.
EXTRAS = {
    "triosock.observe.metrics.PrometheusObserver",
    "triosock.observe.telemetry.OpenTelemetryObserver",
    *(f"triosock.dtls.{name}" for name in ("DtlsServer", "DtlsSession", "serve_dtls")),
    *(f"triosock.identity.{name}" for name in ("check_client", "client_names")),
}
MODULES = (
    triosock,
    triosock.observe,
    triosock.testing,
    triosock.testing.simulation,
    triosock.events,
    triosock.notify,
)
#: Modules whose names may be those of another, where they are described.
WITHIN = {triosock.events: triosock, triosock.testing.simulation: triosock.testing}


def described():
    """Return the names that the reference describes, and those whose descriptions are made by `events::`."""
    text = "".join(path.read_text("utf-8") for path in (DOCS / "reference").glob("*.rst"))
    names = re.findall(r"^\.\. (?:auto\w+|py:class|py:data):: ([\w.]+)", text, re.M)
    assert ".. events::" in text
    assert ".. ready-made::" in text
    kinds = {name: getattr(triosock.compat, name) for name in triosock.compat.__all__}
    names += [f"triosock.compat.{name}" for name, kind in kinds.items() if kind.__doc__ is None]
    for name in triosock.events.__all__:
        kind = getattr(triosock.events, name)
        if isinstance(kind, type) and issubclass(kind, triosock.Event) and not kind.__subclasses__():
            names.append(f"triosock.events.{name}")
    return names


def public():
    for module in MODULES:
        for name in module.__all__:
            thing = getattr(module, name)
            elsewhere = module in WITHIN and name in WITHIN[module].__all__
            if not isinstance(thing, types.ModuleType) and not elsewhere:
                yield f"{module.__name__}.{name}"
    for name in (*triosock.compat.__all__, *triosock.compat._NEW, "install"):
        yield f"triosock.compat.{name}"


def test_every_public_name_is_in_the_reference_once():
    names = described()
    assert sorted(names) == sorted(set(names))
    missing = sorted((set(public()) | EXTRAS) - set(names))
    assert not missing, f"in no page of docs/reference: {missing}"


def test_the_reference_describes_nothing_else():
    # What only another Python has, like the forking Unix servers of 3.12, may be missing here.
    here = set(public()) | EXTRAS
    for name in described():
        module, _, last = name.rpartition(".")
        assert name in here or not hasattr(importlib.import_module(module), last), name


def waiting():
    """Yield the public names that wait, as the page of endings calls them."""
    dtls = importlib.import_module("triosock.dtls") if importlib.util.find_spec("OpenSSL") else None
    modules = {"": triosock, "observe.": triosock.observe, "compat.": triosock.compat, "dtls.": dtls}
    public = [one for one in vars(triosock).values() if isinstance(one, type)]
    for prefix, module in modules.items():
        names = ("CompatServer", "serve") if module is triosock.compat else getattr(module, "__all__", ())
        for name in names:
            thing = getattr(module, name)
            if inspect.iscoroutinefunction(thing):
                yield prefix + name
            for inner, method in inspect.getmembers(thing) if isinstance(thing, type) else ():
                own = inner == "__anext__" or not inner.startswith("_")
                own = own and not any(hasattr(base, inner) for base in thing.__mro__[1:] if base in public)
                if own and inspect.iscoroutinefunction(method):
                    yield f"{name}.{inner}"


def test_what_ends_a_wait_is_told_of_everything_that_waits():
    text = (DOCS / "reference" / "endings.md").read_text("utf-8")
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    told = [name for row in rows for name in re.findall(r"`([\w.]+)`", row[0])]
    assert sorted(told) == sorted(set(told))
    assert sorted(set(waiting()) - set(told)) == []
    # Those that wait but are no coroutine functions: iterators, blocks, and what returns an awaitable.
    others = {"lines", "frames", "idle", "request", "receive_some", "send_all", "__anext__"}
    extras = {f"Connection.{name}" for name in others}
    unknown = set(told) - set(waiting()) - extras
    assert all("tls" in name.lower() for name in unknown), unknown
    assert all(row[1:] and all(cell.strip() for cell in row) for row in rows)


def blocks():
    for path in PAGES:
        lines = path.read_text("utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            if opening := re.match(r"(`{3,})(\S.*)$", line):
                end = next(n for n in range(number, len(lines)) if lines[n] == opening[1])
                yield pytest.param(
                    path, opening[2], lines[number:end], id=f"{path.relative_to(DOCS)}:{number}"
                )


@pytest.mark.parametrize(("path", "language", "lines"), list(blocks()))
def test_a_block_is_included_or_run(path, language, lines):
    if language.startswith("{literalinclude}"):
        included = (path.parent / language.split()[1]).resolve()
        assert included.is_file()
        _check_options(included, lines)
    elif language.startswith("{"):
        assert language.split()[0] in DIRECTIVES
    elif language == "console":
        for line in lines:
            _check_command(line)
    elif language == "python":
        done = python("-W", "error", "-c", "\n".join(lines), cwd=ROOT)
        assert done.returncode == 0, done.stderr
    else:
        assert language == "text"


#: What makes its contents when the site is built, or nothing but structure.
DIRECTIVES = {
    "{toctree}",
    "{lesson-place}",
    "{course-plan}",
    "{lesson-output}",
    "{lesson-picture}",
    "{exercise}",
    "{eval-rst}",
    "{list-table}",
}


def _check_options(included, lines):
    text = included.read_text("utf-8")
    for line in lines:
        option, _, value = line.lstrip(":").partition(": ")
        if option == "pyobject":
            names = {node.name for node in ast.walk(ast.parse(text)) if hasattr(node, "name")}
            assert value in names, f"{included.name} has no {value}"
        elif option in ("start-at", "end-before", "start-after"):
            assert value.strip('"') in text
        elif option == "lines":
            assert int(value.split("-")[-1]) <= len(text.splitlines())


def _check_command(line):
    words = shlex.split(line)
    if words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
    elif words[:3] == ["python", "-m", "triosock"]:
        from triosock.cli import make_parser

        make_parser().parse_args(
            [word.replace("shout:shout", "triosock.cli.handlers:echo") for word in words[3:]]
        )
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2])
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file()
    else:
        raise AssertionError(f"nobody knows whether this runs: {line}")


def test_links_between_pages_lead_somewhere():
    for path in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8")):
            if "://" not in target:
                assert (path.parent / target).resolve().exists(), f"{path.name}: {target}"


def test_every_discussion_and_guide_is_short():
    for path in PAGES:
        if path.parent.name in ("tutorial", "howto"):
            assert len(path.read_text("utf-8").split()) < 1500, path.name


def test_nothing_names_a_registrys_host_or_this_machine():
    for path in [*PAGES, *DOCS.rglob("*.py"), *DOCS.rglob("code/**/*.*")]:
        text = path.read_text("utf-8")
        assert not re.search(r"pypi\.|pythonhosted|/root/|/work/", text), path


# The check of links in the built site


def built(tmp_path, **pages):
    for name, text in pages.items():
        (tmp_path / f"{name}.html").write_text(text)
    done = python(DOCS / "check_links.py", tmp_path)
    return done.returncode, done.stdout


def test_check_links_is_content_with_links_that_lead_somewhere(tmp_path):
    index = (
        '<p id="top"><a href="other.html#there">x</a><a href="#top">y</a><a href="https://example.org">z</a>'
    )
    code, output = built(tmp_path, index=index, other='<p id="there"><img src="index.html">')
    assert (code, output) == (0, "3 links within the site, 0 of them wrong\n")


@pytest.mark.parametrize("link", ["none.html", "other.html#nowhere", "#nowhere", "_static/none.svg"])
def test_check_links_finds_the_one_that_does_not(tmp_path, link):
    code, output = built(tmp_path, index=f'<a href="{link}">x</a><img src="{link}">', other="<p>")
    assert code == 1
    assert f"index.html: {link}: no such" in output
