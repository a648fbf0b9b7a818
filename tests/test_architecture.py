"""Dependencies point one way, and files stay small enough to be read. What reads the sources is tried in
test_source_tree.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import source_tree
from tests.source_tree import Import, Source, layer_of
from triosock.compat import loading

ROOT = Path(__file__).parents[1]

#: The packages of _core, and from which others each one imports, also where only a type checker looks, and
#: also late in a function. The table in docs/discussion/architecture.md says the same.
CORE = {
    "model": [],
    "protocols": ["model"],
    "registry": ["model"],
    "transport": ["model", "registry"],
    "listeners": ["model", "registry"],
    "server": ["model", "registry", "transport", "listeners"],
    "stream": ["model", "protocols", "registry", "transport", "listeners", "server"],
    "datagram": ["model", "registry", "transport", "listeners", "server"],
    "inspect": ["model", "registry", "server", "datagram"],
}
#: The same for compat: its rooms, and the files that know them. Green mode stands beside control.
COMPAT = {
    "requests": [],
    "waiting": ["requests"],
    "stdlib": ["requests", "waiting"],
    "bridge": ["requests", "waiting", "stdlib"],
    "control": ["requests", "waiting", "stdlib", "bridge"],
    "green": ["requests", "waiting", "stdlib", "bridge"],
    "loading": ["requests"],
    "choose": ["waiting", "stdlib", "loading"],
    "install": [],
    "__main__": ["requests", "loading"],
}
ROOMS = ["requests", "waiting", "stdlib", "bridge", "control", "green"]
#: The rooms without trio.
LIGHT = ["requests", "waiting", "stdlib"]
#: Where no module imports another that leads back to it, in whatever way.
WITHOUT_CIRCLES = ["triosock._core", "triosock.compat", "triosock.dtls", "triosock.observe", "triosock.cli"]
#: From which layers each one may import. Nothing imports compat, testing or the command line.
LAYERS = {
    "_core": ["_core"],
    "_version": [],
    "events": ["_core"],
    "broadcast": ["_core"],
    "handlers": ["_core"],
    "identity": ["_core", "_extras"],
    "notify": ["_core"],
    "_worker": ["_core", "notify"],
    "_extras": [],
    "_console": ["_core"],
    "_ending_signals": [],
    "signals": ["_core", "_console", "_ending_signals", "_worker", "notify"],
    "workers": ["workers", "facade", "_core", "_console", "notify", "_worker", "observe"],
    "observe": ["observe", "_core", "_extras"],
    "facade": ["_facade"],
    "_facade": ["_core", "_version", "broadcast", "handlers", "signals", "observe", "workers"],
    "testing": ["testing", "facade", "events", "observe", "_core"],
    "compat": ["compat", "facade", "_core", "_extras"],
    "dtls": ["dtls", "facade", "_core", "_extras"],
    "cli": ["cli", "facade", "_core", "observe", "workers"],
    "__main__": ["cli"],
}
#: What those who are told see of the library: events, and the values that events carry.
OBSERVABLE = [f"model.{name}" for name in ("events", "emitter", "addresses", "config", "checks", "options")]
#: What those who look at the living tree know besides: its values, and what shows them to others.
TREE = {
    "triosock.observe": ["inspect.snapshot"],  # the facade of the package
    "triosock.observe.treeview": ["inspect.snapshot"],
    "triosock.observe.blocked_loop": ["inspect.step_watch"],
    "triosock.observe.health": [
        *("inspect.readiness", "listeners.listener", "listeners.unix", "registry.drain_scope"),
        *("stream.connection", "stream.serve", "stream.server"),
    ],
    "triosock.observe.control": [
        *("inspect.readiness", "inspect.snapshot", "inspect.verbs", "listeners.listener", "listeners.unix"),
        *("stream.connection", "stream.serve", "stream.server", "registry.drain_report"),
    ],
}

DEPENDENCIES = ["triosock", "trio", "attrs"]
EXTRAS = {
    "triosock/testing/plugin.py": ["pytest"],
    "triosock/testing/_fixtures.py": ["pytest", "pytest_trio"],
    "triosock/cli/": ["rich"],
    "triosock/observe/metrics": ["prometheus_client"],
    "triosock/observe/telemetry": ["opentelemetry"],
    "triosock/observe/health": ["h11"],
    "triosock/compat/green": ["greenlet"],
    "triosock/dtls/": ["OpenSSL"],
    "triosock/identity": ["cryptography", "service_identity"],
    "triosock/testing/simulation/": ["hypothesis", "pytest"],
}

#: Of trio.lowlevel, what any file may use: checkpoints, names for annotations, and a question.
LOWLEVEL_ANYWHERE = [
    *("checkpoint", "checkpoint_if_cancelled", "cancel_shielded_checkpoint"),
    *("Task", "TrioToken", "in_trio_run"),
]
LOWLEVEL = {
    # Waiting for descriptors: the fast path, and what is told when one of them is closed.
    "triosock/_core/transport/socket_receive.py": ["wait_readable", "notify_closing", "current_task"],
    "triosock/_core/transport/socket_send.py": ["wait_writable"],
    "triosock/_core/transport/socket.py": ["notify_closing"],
    "triosock/_core/stream/server.py": ["current_clock"],
    "triosock/_core/listeners/bind.py": ["current_clock"],
    "triosock/_core/listeners/stdio.py": ["FdStream"],
    "triosock/_core/transport/checkpoints.py": ["Abort", "reschedule", "wait_task_rescheduled"],
    "triosock/_core/transport/hang_up.py": ["wait_readable"],
    "triosock/_core/transport/epoll.py": ["wait_readable", "enable_ki_protection"],
    "triosock/_core/transport/tls.py": ["wait_readable", "wait_writable"],
    "triosock/_core/listeners/closing.py": ["notify_closing", "current_trio_token"],
    "triosock/_core/listeners/listener.py": ["wait_readable"],
    "triosock/_core/datagram/socket.py": ["wait_readable", "wait_writable"],
    **{
        f"triosock/compat/{name}.py": ["wait_readable"]
        for name in ("bridge/trio_wait", "control/drain_target")
    },
    "triosock/compat/bridge/calls.py": ["wait_readable", "spawn_system_task"],
    "triosock/compat/green/tasks.py": [
        *("wait_readable", "wait_writable", "notify_closing"),
        *("current_task", "spawn_system_task", "RunVar"),
    ],
    "triosock/compat/green/readers.py": ["spawn_system_task", "current_trio_token"],
    # The run and the task.
    "triosock/_core/stream/connection_task.py": ["current_task"],
    "triosock/_core/stream/connection.py": ["current_task", "in_trio_task"],
    "triosock/_core/datagram/dispatch.py": ["current_task"],
    "triosock/_core/datagram/session_table.py": ["current_task"],
    "triosock/_core/registry/drain_scope.py": ["RunVar"],
    "triosock/_console.py": ["RunVar"],
    "triosock/compat/bridge/trio_thread.py": ["current_trio_token"],
    "triosock/dtls/session.py": ["current_trio_token", "current_task"],
    "triosock/compat/control/serve.py": ["current_trio_token"],
    "triosock/observe/event_stream.py": ["current_trio_token"],
    "triosock/observe/background_thread.py": ["current_trio_token"],
    "triosock/observe/blocked_loop.py": ["add_instrument", "remove_instrument"],
    "triosock/observe/timeline/runs.py": ["current_trio_token"],
    # Tasks that no nursery of a user may hold: they live as long as the run.
    "triosock/signals.py": ["spawn_system_task"],
    "triosock/_ending_signals.py": ["current_trio_token", "currently_ki_protected"],
    "triosock/_worker.py": ["spawn_system_task", "FdStream"],
    "triosock/cli/running.py": ["spawn_system_task"],
    "triosock/cli/processes.py": ["wait_readable"],
    **{f"triosock/workers/{name}.py": ["wait_readable"] for name in ("process", "receiver", "file_guard")},
    "triosock/notify.py": ["spawn_system_task", "RunVar", "wait_writable"],
    "triosock/compat/bridge/deadline_task.py": ["spawn_system_task"],
    # Tools that look at a run from outside.
    "triosock/observe/stepping/instrument.py": [
        *("add_instrument", "remove_instrument", "current_task", "current_root_task"),
    ],
    "triosock/testing/checkpoints.py": ["add_instrument", "remove_instrument", "current_task"],
    "triosock/testing/leaks.py": ["current_root_task"],
    "triosock/testing/memory_listener.py": ["ParkingLot"],
    "triosock/testing/memory_stream.py": ["ParkingLot"],
    "triosock/testing/recorder.py": ["ParkingLot"],
    "triosock/testing/simulation/oracles.py": ["current_statistics"],
    **{f"triosock/testing/simulation/{name}.py": ["ParkingLot"] for name in ("link", "listener", "pipe")},
}

#: How often a type checker is told to believe, at most: these numbers only become smaller.
LOOSE = {"Any": 120, "cast": 2, "ignore": 12}

MAX_FILE = 400
#: Without its docstring.
MAX_FUNCTION = 30


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    return source_tree.read(ROOT, "triosock")


@pytest.fixture(scope="module")
def imports(sources: list[Source]) -> list[Import]:
    return source_tree.imports_of(sources)


def core_package(module: str) -> str:
    """Return the package of _core that a module is in, or nothing."""
    layer, _, name = module.removeprefix("triosock.").partition(".")
    return name.partition(".")[0] if layer == "_core" else ""


def passes(complaints: list[str]) -> None:
    assert not complaints, "\n" + "\n".join(complaints)


def test_every_layer_imports_only_those_that_it_may(imports: list[Import]) -> None:
    passes(source_tree.wrong_layers(imports, "triosock", LAYERS))


def test_a_package_of_the_core_imports_only_from_those_that_it_may(imports: list[Import]) -> None:
    passes(source_tree.wrong_packages(imports, "triosock._core", CORE))


def test_packages_of_the_core_stand_in_the_order_of_their_arrows() -> None:
    order = list(CORE)
    for package, others in CORE.items():
        assert others == [one for one in order[: order.index(package)] if one in others]


def test_every_file_of_the_core_is_in_one_of_its_packages(sources: list[Source]) -> None:
    files = [source for source in sources if layer_of(source.module) == "_core"]
    assert {core_package(source.module) for source in files} == {"", *CORE}
    assert [source.path for source in files if core_package(source.module) == ""] == [
        "triosock/_core/__init__.py"
    ]


@pytest.mark.parametrize("package", WITHOUT_CIRCLES)
def test_no_module_imports_what_leads_back_to_it(imports: list[Import], package: str) -> None:
    passes(source_tree.circles(imports, package))


@pytest.mark.parametrize("package", CORE)
def test_every_package_of_the_core_says_what_it_is(package: str) -> None:
    text = (ROOT / "triosock/_core" / package / "__init__.py").read_text()
    assert "May import: " in text
    assert "The invariant: " in text
    assert 5 <= len(text.splitlines()) <= 12


def test_a_room_of_compat_imports_only_from_those_that_it_may(imports: list[Import]) -> None:
    passes(source_tree.wrong_packages(imports, "triosock.compat", COMPAT))
    for room in ROOMS:
        text = (ROOT / "triosock/compat" / room / "__init__.py").read_text()
        assert "May import: " in text
        assert "The invariant: " in text


def test_the_rooms_of_compat_that_forking_servers_have_import_nothing_heavy(imports: list[Import]) -> None:
    light = tuple(f"triosock.compat.{room}." for room in LIGHT)
    assert [
        one.complain("heavy")
        for one in imports
        if f"{one.source.module}.".startswith(light)
        and not one.typing_only
        and not one.target.startswith("triosock.compat.")
        and one.target.split(".")[0] not in sys.stdlib_module_names
    ] == []


def test_what_needs_trio_is_imported_at_one_moment_and_all_of_it(sources: list[Source]) -> None:
    def modules(*rooms: str) -> set[str]:
        return {
            source.module.removeprefix("triosock.compat.")
            for source in sources
            if source.module.startswith(tuple(f"triosock.compat.{room}." for room in rooms))
        }

    assert set(loading._NEED_TRIO) == modules("bridge", "control")
    assert {f"green.{name}" for name in loading._NEED_GREENLET} == modules("green")


def test_observers_know_events_and_their_values_and_nothing_else(imports: list[Import]) -> None:
    arrows = [
        one
        for one in imports
        if one.target.removeprefix("triosock._core.") not in TREE.get(one.source.module, ())
    ]
    passes(source_tree.wrong_targets(arrows, "triosock.observe", "triosock._core", OBSERVABLE))


def test_at_run_time_there_is_trio_and_attrs_and_the_standard_library(imports: list[Import]) -> None:
    passes(source_tree.foreign(imports, DEPENDENCIES, EXTRAS))


def test_what_is_low_level_stays_in_the_files_that_are_named(sources: list[Source]) -> None:
    passes(source_tree.wrong_lowlevel(sources, LOWLEVEL_ANYWHERE, LOWLEVEL))


def test_no_file_is_too_long_to_be_read() -> None:
    passes(source_tree.long_files(ROOT, ["triosock", "tests"], [".py", ".js", ".css"], MAX_FILE))


def test_no_function_is_too_long_to_be_read(sources: list[Source]) -> None:
    passes(source_tree.long_functions(sources, MAX_FUNCTION))


@pytest.mark.parametrize("kind", LOOSE)
def test_types_say_what_things_are(sources: list[Source], kind: str) -> None:
    """`Any` is for what a user passes, and for what has no types."""
    places = source_tree.loose_types(ROOT, sources)[kind]
    assert len(places) <= LOOSE[kind], f"{kind} at {len(places)} places:\n" + "\n".join(places)
