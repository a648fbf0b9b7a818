"""Certificates of the command line: from a configuration file, several of them, and loaded anew by SIGHUP."""

from __future__ import annotations

import signal

import pytest
import trustme

from tests.certificates import EXPIRED, der_of, lenient, replace, shown_at, write
from tests.programs import dial, running
from tests.tls import trusting
from triosock import CertificateFiles
from triosock.cli.arguments import OperatingSystemError, UsageError, load_tls
from triosock.cli.config_file import read_config

from .conftest import ECHO, SERVE, serve, wait_for_restart

CONFIG = """
[endpoints.web]
address = "tcp://127.0.0.1:0"
handler = "triosock.cli.handlers:echo"
tls = { certificate = "localhost.pem", key = "localhost.key" }
"""
WEB = """\
[endpoints.web]
address = "tcp://*:1"
handler = "a:b"
"""
FULL = (
    WEB
    + """
[endpoints.web.tls]
certificate = "one.example.pem"
key = "one.example.key"
roots = "roots.pem"
strict = true
check_dates = false
check_every = 60

[endpoints.web.tls.certificates.shop]
certificate = "shop.example.pem"
key = "shop.example.key"
password_file = "password"
names = ["shop.example", "*.shop.example"]
"""
)


def test_a_file_may_name_several(tmp_path):
    (tmp_path / "server.toml").write_text(FULL)
    (tmp_path / "password").write_text("sesame\nsecond line\n")
    tls = read_config(tmp_path / "server.toml").endpoints[0].tls
    assert (tls.strict, tls.check_dates, tls.check_every) == (True, False, 60)
    assert tls.roots == str(tmp_path / "roots.pem")
    one, shop = tls.certificates
    assert one == CertificateFiles(str(tmp_path / "one.example.pem"), str(tmp_path / "one.example.key"))
    assert (shop.chain, shop.names) == (
        str(tmp_path / "shop.example.pem"),
        ("shop.example", "*.shop.example"),
    )
    assert shop.password() == "sesame"


def test_several_certificates_are_loaded_as_the_file_says(tmp_path):
    authority = trustme.CA()
    write(tmp_path, authority, "one.example", **EXPIRED)
    write(tmp_path, authority, "shop.example")
    authority.cert_pem.write_to_path(str(tmp_path / "roots.pem"))
    path = tmp_path / "server.toml"
    path.write_text(FULL)
    first, second = load_tls(read_config(path).endpoints[0].tls).loaded
    assert (first.names, second.names) == (("one.example",), ("shop.example", "*.shop.example"))
    path.write_text(FULL.replace("check_dates = false\n", ""))
    with pytest.raises(OperatingSystemError, match="the certificate expired at"):
        load_tls(read_config(path).endpoints[0].tls)


def test_a_file_names_handlers_by_protocol(tmp_path):
    write(tmp_path, trustme.CA(), "localhost")
    path = tmp_path / "server.toml"
    files = '[endpoints.web.tls]\ncertificate = "localhost.pem"\nkey = "localhost.key"\n'
    by_protocol = '[endpoints.web.tls.handlers]\n"x-shout" = "triosock.cli.handlers:shout"\n'
    path.write_text(CONFIG[: CONFIG.index("tls =")] + files + by_protocol)
    with serve("--config", path) as program:
        for protocols, heard in ((["x-shout"], b"HELLO\n"), ([], b"hello\n"), (["h2"], b"hello\n")):
            context = lenient()
            if protocols:
                context.set_alpn_protocols(protocols)
            with dial(program.port()) as client:
                with context.wrap_socket(client.sock, server_hostname="localhost") as client.sock:
                    assert client.ask(b"hello\n") == heard


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('key = "k"\n', 4, "needs a key 'certificate', the file of the chain"),
        ("", 4, "needs a key 'certificate'"),
        ('certificate = "c"\ncheck_every = -1\n', 6, "check_every must be a number of seconds from 0"),
        ('certificate = "c"\ncheck_every = nan\n', 6, "check_every must be a number of seconds from 0"),
        ('certificates.a = { key = "k" }\n', 5, "needs a key 'certificate'"),
        ('certificates.a = { certificate = "c", names = ["a*"] }\n', 5, "a server name is a host name"),
        ('certificates.a = { certificate = "c", names = [3] }\n', 5, "a server name must be a str"),
        ('certificats = { certificate = "c" }\n', 5, "unknown key 'certificats'"),
        ('strict = 1\ncertificate = "c"\n', 5, "strict must be a boolean"),
    ],
)
def test_a_mistake_has_its_line(tmp_path, text, line, words):
    path = tmp_path / "server.toml"
    path.write_text(f"{WEB}[endpoints.web.tls]\n{text}")
    with pytest.raises(UsageError, match=words) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize("by_file", [False, True])
def test_sighup_loads_the_certificate_anew(tmp_path, by_file):
    authority = trustme.CA()
    files, certificate = write(tmp_path, authority, "localhost"), tmp_path / "localhost.pem"
    context = trusting(authority)
    if by_file:
        config = tmp_path / "server.toml"
        config.write_text(CONFIG)
        arguments = ["--config", config]
    else:
        arguments = ["tcp://127.0.0.1:0", *ECHO, "--tls-cert", files.chain, "--tls-key", files.key]
    with serve(*arguments) as program:
        port = program.port()
        assert shown_at(port, "localhost", context) == der_of(files)
        files = write(tmp_path, authority, "localhost")
        program.signal(signal.SIGHUP)
        program.wait_for(r"INFO \w+: certificates loaded for localhost\n")
        assert shown_at(port, "localhost", context) == der_of(files)
        replace(certificate, certificate.read_bytes()[:400])
        program.signal(signal.SIGHUP)
        program.wait_for(r"ERROR \w+: new certificates refused, the old ones stay in use: .*localhost\.pem")
        certificate.unlink()
        program.signal(signal.SIGHUP)
        program.wait_for("No such file")
        files = write(tmp_path, authority, "localhost")
        program.signal(signal.SIGHUP)
        program.wait_for(r"(?s)(certificates loaded.*){2}")
        assert shown_at(port, "localhost", context) == der_of(files)


@pytest.mark.slow
def test_a_restart_of_workers_loads_it_and_a_bad_one_keeps_the_old_workers(tmp_path):
    authority = trustme.CA()
    files, context = write(tmp_path, authority, "localhost"), lenient()
    (tmp_path / "server.toml").write_text("workers = 2\n" + CONFIG)
    with serve("--config", tmp_path / "server.toml") as program:
        port = int(program.wait_for(r"workers: 2 workers on tcp://127\.0\.0\.1:(\d+)")[1])
        assert shown_at(port, "localhost", context) == der_of(files)
        old, files = der_of(files), write(tmp_path, authority, "localhost")
        program.signal(signal.SIGHUP)
        wait_for_restart(program, 2)
        assert shown_at(port, "localhost", context) == der_of(files) != old
        replace(tmp_path / "localhost.key", b"half")
        program.signal(signal.SIGHUP)
        program.wait_for("cannot use the certificate and key in")
        program.wait_for("restart: 0 replaced")
        assert shown_at(port, "localhost", context) == der_of(files)


def test_without_certificates_sighup_ends_as_ever():
    with running(*SERVE, "tcp://127.0.0.1:0", *ECHO) as program:
        program.port()
        program.signal(signal.SIGHUP)
        assert program.wait() == -signal.SIGHUP
