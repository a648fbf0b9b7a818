"""Errors in certificate files are reported before they are used, with the file and the reason."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.certificates import EXPIRED, NOT_YET, replace, write
from tests.programs import tool
from triosock import CertificateFiles, CertificateRefused, Certificates
from triosock._core.transport import certificate_check

ROOT = trustme.CA()
MIDDLE = ROOT.create_child_ca()
OTHER = trustme.CA()
END = b"-----END CERTIFICATE-----\n"


def why(*files: Any, **options: Any) -> str:
    with pytest.raises(CertificateRefused) as caught:
        Certificates(*files, **options)
    return str(caught.value)


@pytest.fixture
def good(tmp_path: Path) -> CertificateFiles:
    """A certificate of an authority in the middle, with that one's behind it."""
    return write(tmp_path, MIDDLE, "good.example")


def path_of(files: CertificateFiles) -> Path:
    return Path(os.fsdecode(files.chain))


def blocks(files: CertificateFiles) -> list[bytes]:
    return [block + END for block in path_of(files).read_bytes().split(END)[:-1]]


def put(files: CertificateFiles, *chosen: bytes) -> None:
    replace(path_of(files), b"".join(chosen))


def test_a_good_one_is_taken_in_one_file_or_two_and_whatever_stands_around_it(
    good: CertificateFiles, tmp_path: Path
) -> None:
    chain, key = path_of(good).read_bytes(), Path(os.fsdecode(good.key or "")).read_bytes()
    (tmp_path / "all.pem").write_bytes(b"# a word before\n" + key + b"\n\n" + chain)
    for files in (good, tmp_path / "all.pem", str(tmp_path / "all.pem"), os.fsencode(tmp_path / "all.pem")):
        assert Certificates(files).loaded[0].names == ("good.example",)


def test_the_key_of_another_certificate(good: CertificateFiles, tmp_path: Path) -> None:
    other = write(tmp_path, ROOT, "other.example")
    text = why(CertificateFiles(good.chain, other.key))
    assert text == f"{good.chain} and {other.key}: the key does not fit the certificate"


def test_files_that_are_not_there_or_cannot_be_read(good: CertificateFiles, tmp_path: Path) -> None:
    assert why(tmp_path / "none.pem") == f"{tmp_path / 'none.pem'}: No such file or directory"
    assert why(CertificateFiles(good.chain, tmp_path / "none.key")).endswith(
        "none.key: No such file or directory"
    )
    assert why(tmp_path).endswith("Is a directory")
    assert (
        why(good, roots=tmp_path / "none") == f"the roots in {tmp_path / 'none'}: No such file or directory"
    )


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 0.7, 0.95])
def test_a_file_of_which_the_end_is_missing(share: float, good: CertificateFiles, tmp_path: Path) -> None:
    for path in (path_of(good), Path(os.fsdecode(good.key or ""))):
        whole = path.read_bytes()
        replace(path, whole[: int(len(whole) * share)])
        assert str(path) in why(good)
        replace(path, whole)
    Certificates(good)


def test_what_is_no_certificate_at_all(good: CertificateFiles) -> None:
    replace(path_of(good), b"\0" * 1000)
    assert "there is no whole certificate (PEM) in it" in why(good)
    replace(path_of(good), b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert "cannot be used" in why(good)


def test_a_key_alone_or_none_at_all(good: CertificateFiles) -> None:
    assert "there is no whole certificate" in why(good.key)
    assert "cannot be used" in why(good.chain)


def test_expired(tmp_path: Path) -> None:
    old = write(tmp_path, ROOT, "old.example", **EXPIRED)
    assert "the certificate expired at " in (text := why(old))
    assert f"{EXPIRED['not_after'].year} GMT by the clock of this machine" in text
    assert Certificates(old, check_dates=False).loaded[0].not_after < time.time()


def test_not_valid_yet(tmp_path: Path) -> None:
    early = write(tmp_path, ROOT, "early.example", **NOT_YET)
    assert "the certificate is not valid before " in why(early)
    assert Certificates(early, check_dates=False).loaded[0].not_before > time.time()


def test_one_that_ends_while_it_is_served_is_served_on_and_refused_at_the_next_loading(
    good: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = Certificates(good)
    real = certificate_check._do_handshake

    def later(server_side: Any, client_side: Any) -> Any:
        # What OpenSSL says when the machine's clock has jumped behind the end of the certificate.
        if client_side.verify_flags & certificate_check._NO_CHECK_TIME:
            return real(server_side, client_side)
        error = certificate_check.ssl.SSLCertVerificationError("expired")
        error.verify_code, error.verify_message = 10, "certificate has expired"
        raise error

    monkeypatch.setattr(certificate_check, "_do_handshake", later)
    monkeypatch.setattr(certificate_check.time, "time", lambda: certificates.loaded[0].not_after + 1)
    before = certificates.loaded
    with pytest.raises(CertificateRefused, match="the certificate expired at "):
        certificates.reload()
    assert certificates.loaded == before
    assert certificates.context is before[0].context


def test_a_gap_in_the_chain(good: CertificateFiles) -> None:
    leaf, middle = blocks(good)
    put(good, leaf, ROOT.cert_pem.bytes())
    assert "the chain has a gap" in why(good)
    put(good, leaf, middle, OTHER.cert_pem.bytes())
    assert "the chain has a gap" in why(good)
    put(good, leaf, middle, ROOT.cert_pem.bytes())
    Certificates(good)


def test_with_roots_an_issuer_that_was_left_out_is_noticed(good: CertificateFiles, tmp_path: Path) -> None:
    roots = tmp_path / "roots.pem"
    ROOT.cert_pem.write_to_path(str(roots))
    Certificates(good, roots=roots)
    leaf, _ = blocks(good)
    put(good, leaf)
    Certificates(good)  # a file cannot tell: its issuer may be a root that clients have
    assert f"the chain leads to none of the roots in {roots}" in why(good, roots=roots)
    OTHER.cert_pem.write_to_path(str(roots))
    assert "leads to none of the roots" in why(good, roots=roots)


@pytest.fixture
def encrypted(tmp_path: Path) -> CertificateFiles:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    files = write(tmp_path, ROOT, "locked.example")
    locked = tmp_path / "locked.key"
    locked.write_bytes(tool("openssl", "pkcs8", "-topk8", "-in", files.key, "-passout", "pass:open sesame"))
    return CertificateFiles(files.chain, locked)


@pytest.mark.parametrize("password", ["open sesame", b"open sesame", lambda: "open sesame"])
def test_an_encrypted_key_with_its_password(encrypted: CertificateFiles, password: Any) -> None:
    Certificates(CertificateFiles(encrypted.chain, encrypted.key, password=password))


def test_an_encrypted_key_without_a_password_asks_nobody(encrypted: CertificateFiles) -> None:
    assert why(encrypted).endswith("the key is encrypted, and there is no password for it")


@pytest.mark.parametrize("kind", ["rsa:2048", "ed25519"])
def test_a_key_of_another_type_that_can_be_decrypted_does_not_fit(
    encrypted: CertificateFiles, tmp_path: Path, kind: str
) -> None:
    other, password = tmp_path / "other.key", "open sesame"
    openssl = ("openssl", "req", "-x509", "-subj", "/CN=x", "-newkey", kind, "-passout", f"pass:{password}")
    tool(*openssl, "-keyout", other, "-out", tmp_path / "other.pem")
    assert "does not fit the certificate" in why(CertificateFiles(encrypted.chain, other, password=password))


@pytest.mark.parametrize("password", ["shut", "", lambda: b"shut"])
def test_a_wrong_password_is_what_is_wrong(encrypted: CertificateFiles, password: Any) -> None:
    wrong = CertificateFiles(encrypted.chain, encrypted.key, password=password)
    assert "the key cannot be decrypted: the password is wrong" in why(wrong)


def test_a_key_of_another_certificate_is_that_though_its_password_is_right(
    encrypted: CertificateFiles, good: CertificateFiles
) -> None:
    other = CertificateFiles(good.chain, encrypted.key, password="open sesame")
    assert why(other).endswith("the key does not fit the certificate")


def test_what_a_function_of_the_users_raises_is_told_and_keeps_the_old(
    good: CertificateFiles, encrypted: CertificateFiles
) -> None:
    def fail(*_: object) -> Any:
        raise LookupError("the vault is shut")

    assert "LookupError: the vault is shut" in why(good, configure=fail)
    assert "LookupError: the vault is shut" in why(
        CertificateFiles(encrypted.chain, encrypted.key, password=fail)
    )


def test_one_that_names_no_server_can_only_be_the_first(good: CertificateFiles, tmp_path: Path) -> None:
    nameless = write(tmp_path, ROOT, "127.0.0.1", stem="nameless")
    assert Certificates(nameless, good).loaded[0].names == ()
    assert "names no server" in why(good, nameless)
    Certificates(good, CertificateFiles(nameless.chain, nameless.key, names=["by.hand.example"]))


def test_files_that_change_while_they_are_read(good: CertificateFiles, tmp_path: Path) -> None:
    def meanwhile(_: object) -> None:
        write(tmp_path, MIDDLE, "good.example")

    assert why(good, configure=meanwhile) == "the files of the certificates were changed while they were read"


@pytest.mark.parametrize("change", ["size", "time", "other file", "gone"])
def test_every_change_of_a_file_is_seen_a_clock_set_back_or_not(change: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    before = os.stat(path)
    first = certificate_check.signature_of([path])
    match change:
        case "size":
            path.write_bytes(b"longer")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "time":
            path.write_bytes(b"two")
            os.utime(path, ns=(0, 0))
        case "other file":
            replace(path, b"two")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "gone":
            path.unlink()
    assert certificate_check.signature_of([path]) != first


def test_two_that_load_at_once_do_not_mix(good: CertificateFiles) -> None:
    certificates = Certificates(good)
    threads = [threading.Thread(target=certificates.reload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert certificates.context is certificates.loaded[0].context
