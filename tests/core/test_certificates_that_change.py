"""Files of certificates that change while they are served: a handshake looks, and loads what is new."""

from __future__ import annotations

import itertools
import time
import types
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from tests.certificates import EXPIRED, NOT_YET, der_of, replace, shown, write
from tests.handlers import shout
from triosock import CertificateFiles, Certificates, events
from triosock._core.transport import certificate_check as check_module
from triosock._core.transport import certificates as module

pytestmark = pytest.mark.usefixtures("no_leaks")

CA = trustme.CA()


@pytest.fixture
def one(tmp_path: Path) -> CertificateFiles:
    return write(tmp_path, CA, "one.example")


async def test_a_look_at_the_files_is_taken_with_a_handshake(
    one: CertificateFiles, tmp_path: Path, serving: Any, recorder: Any
) -> None:
    certificates = Certificates(one, check_every=0)
    async with serving(shout, tls=certificates, observers=[recorder]) as server:
        old = der_of(one)
        assert await shown(server, "one.example") == old
        assert recorder.of(events.CertificatesReloaded) == []
        write(tmp_path, CA, "one.example", "www.one.example")
        assert await shown(server, "one.example") == der_of(one) != old
        (told,) = recorder.of(events.CertificatesReloaded)
        assert told.names == ("one.example", "www.one.example")
        assert told.not_after == certificates.loaded[0].not_after


async def test_a_look_that_finds_a_bad_file_is_told_once_and_tried_again(
    one: CertificateFiles, tmp_path: Path, serving: Any, recorder: Any
) -> None:
    certificates, old = Certificates(one, check_every=0), der_of(one)
    key = tmp_path / "one.example.key"
    async with serving(shout, tls=certificates, observers=[recorder]) as server:
        whole = key.read_bytes()
        replace(key, whole[:100])
        for _ in range(3):
            assert await shown(server, "one.example") == old
        (told,) = recorder.of(events.CertificatesRefused)
        assert str(key) in str(told.error)
        key.unlink()
        assert await shown(server, "one.example") == old
        assert "No such file" in str(recorder.of(events.CertificatesRefused)[1].error)
        write(tmp_path, CA, "one.example")
        assert await shown(server, "one.example") == der_of(one)
    assert len(recorder.of(events.CertificatesReloaded)) == 1


async def test_expired_files_are_told_once_whatever_the_clock_says_meanwhile(
    one: CertificateFiles, tmp_path: Path, serving: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count(int(time.time()))
    clock = types.SimpleNamespace(time=lambda: next(seconds), strftime=time.strftime, gmtime=time.gmtime)
    monkeypatch.setattr(check_module, "time", clock)
    certificates, old = Certificates(one, check_every=0), der_of(one)
    async with serving(shout, tls=certificates, observers=[recorder]) as server:
        write(tmp_path, CA, "one.example", **EXPIRED)
        said = set()
        for _ in range(3):
            assert await shown(server, "one.example") == old
            said.add(str(certificates.error))
        assert len(said) == 3  # the time is in each
        assert len(recorder.of(events.CertificatesRefused)) == 1
        write(tmp_path, CA, "one.example", **NOT_YET)
        assert await shown(server, "one.example") == old
        assert len(recorder.of(events.CertificatesRefused)) == 2


async def test_the_old_files_are_no_error_when_a_link_leads_back_to_them(
    tmp_path: Path, serving: Any, recorder: Any
) -> None:
    good, bad, live = tmp_path / "good", tmp_path / "bad", tmp_path / "live"
    for folder, dates in ((good, {}), (bad, EXPIRED)):
        folder.mkdir()
        write(folder, CA, "one.example", **dates)
    live.symlink_to(good)
    certificates = Certificates(
        CertificateFiles(live / "one.example.pem", live / "one.example.key"), check_every=0
    )
    async with serving(shout, tls=certificates, observers=[recorder]) as server:
        for folder in (bad, good):
            live.unlink()
            live.symlink_to(folder)
            await shown(server, "one.example")
            assert (certificates.error is None) is (folder is good)
        await shown(server, "one.example")
    kinds = events.CertificatesRefused, events.CertificatesReloaded
    assert [len(recorder.of(kind)) for kind in kinds] == [1, 1]


async def test_handshakes_that_find_a_change_together_load_it_once(
    one: CertificateFiles, tmp_path: Path, serving: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = Certificates(one, check_every=0)
    inner, looking, all_look = trio.to_thread.run_sync, [], trio.Event()

    async def together(function: Any, *args: Any) -> Any:
        looking.append(function)
        if len(looking) == 3:
            all_look.set()
        await all_look.wait()
        return await inner(function, *args)

    async with serving(shout, tls=certificates, observers=[recorder]) as server:
        write(tmp_path, CA, "one.example")
        monkeypatch.setattr(module.trio.to_thread, "run_sync", together)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(shown, server, None)
    assert len(recorder.of(events.CertificatesReloaded)) == 1


async def test_no_look_is_taken_before_its_time(
    one: CertificateFiles, tmp_path: Path, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    certificates, old = Certificates(one, check_every=30), der_of(one)
    async with serving(shout, tls=certificates) as server:
        write(tmp_path, CA, "one.example")
        now[0] = 129.0
        assert await shown(server, "one.example") == old
        now[0] = 130.0
        assert await shown(server, "one.example") == der_of(one) != old
        write(tmp_path, CA, "one.example")
        now[0] = 159.0
        assert await shown(server, "one.example") != der_of(one)


async def test_others_shake_hands_while_one_loads(
    one: CertificateFiles, tmp_path: Path, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates, old = Certificates(one, check_every=1000), der_of(one)
    loading, go_on = trio.Event(), trio.Event()
    inner = trio.to_thread.run_sync

    async def slowly(function: Any, *args: Any) -> Any:
        if function != certificates.load_changed:
            return await inner(function, *args)
        loading.set()
        await go_on.wait()
        return await inner(function, *args)

    monkeypatch.setattr(trio.to_thread, "run_sync", slowly)
    async with serving(shout, tls=certificates) as server, trio.open_nursery() as nursery:
        write(tmp_path, CA, "one.example")
        certificates._next_look = 0.0
        nursery.start_soon(shown, server, "one.example")
        await loading.wait()
        assert await shown(server, "one.example") == old
        go_on.set()
