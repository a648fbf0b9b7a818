"""The configuration file: its keys, and the line of each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
import trustme

import triosock
from tests.certificates import write
from tests.programs import dial
from triosock import CertificateFiles
from triosock.cli import main, schema
from triosock.cli.arguments import OperatingSystemError, UsageError
from triosock.cli.config import TlsConfig
from triosock.cli.config_file import find_line, read_config

from .conftest import serve

FULL = """\
workers = 3
grace = 30
log_level = "warning"
control = "/run/shout.control"

[supervision]
ready = 20
max_crashes = 7

[recycle]
requests = 10_000
jitter = 0.2

[endpoints.web]
address = "tcp://*:9999"
handler = "shop:handle"
proxy = true
tls.certificate = "cert.pem"

[endpoints.web.limits]
max_connections = inf
overflow = "reject"
network_prefix = [16, 48]
rate_per_peer = "20/s:40"

[endpoints."admin"]
address = "unix:///run/admin"
handler = "shop:admin"
mode = "600"
timeouts = { idle = 5, request = inf }

[endpoints.dns]
address = "udp://127.0.0.1:53"
handler = "shop:answer"
sessions.idle = 4
"""


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "server.toml"
        path.write_text(text)
        return path

    return write


def test_everything_that_can_be_said_is_taken(file):
    path = file(FULL)
    config = read_config(path)
    assert (config.workers, config.grace, config.log_level) == (3, 30, "warning")
    assert config.control == "/run/shout.control"
    assert config.supervision == triosock.Supervision(ready=20, max_crashes=7)
    assert config.recycle == triosock.Recycle(requests=10_000, jitter=0.2)
    web, admin, dns = config.endpoints
    assert (web.name, str(web.where), web.handler, web.proxy) == ("web", "tcp://*:9999", "shop:handle", True)
    assert web.limits == triosock.Limits(
        max_connections=float("inf"),
        overflow="reject",
        network_prefix=(16, 48),
        rate_per_peer=triosock.Rate(20, burst=40),
    )
    assert web.tls == TlsConfig(certificates=(CertificateFiles(str(path.parent / "cert.pem")),))
    assert (admin.mode, admin.timeouts) == (0o600, triosock.Timeouts(idle=5, request=float("inf")))
    assert dns.sessions == triosock.Sessions(idle=4)


WEB = '[endpoints.web]\naddress = "tcp://*:1"\nhandler = "a:b"\n'
TLS = WEB + '[endpoints.web.tls]\ncertificate = "cert.pem"\n'


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("wrokers = 2\n" + WEB, 1, "unknown key 'wrokers'; there are: workers, grace,"),
        (WEB + "limit = 2\n", 4, r"unknown key 'limit' in \[endpoints.web\]; there are: address, handler,"),
        (WEB + "[endpoints.web.limits]\n\nmax_conns = 2\n", 6, r"unknown key 'max_conns' in"),
        (WEB + "limits = { max_conns = 2 }\n", 4, "unknown key 'max_conns'"),
        (WEB + "limits.max_conns = 2\n", 4, "unknown key 'max_conns'"),
        (WEB + 'limits.rate = "0/s"\n', 4, "count of a Rate must be a finite number above 0, not 0.0"),
        (WEB + 'limits.rate = "fast"\n', 4, "a rate is written COUNT/PERIOD or COUNT/PERIOD:BURST"),
        (
            WEB + 'limits.rate_per_peer = "fast"\n',
            4,
            "rate_per_peer: a rate is written COUNT/PERIOD or COUNT/PERIOD:BURST",
        ),
        (
            WEB + "limits.rate = 20\n",
            4,
            "rate must be a string, not 20: triosock.Limits.rate: COUNT/PERIOD:BURST",
        ),
        (WEB + 'limits.request_overflow = "drop"\n', 4, "request_overflow must be one of wait, reject"),
        ("# text\n\n" + WEB + "[recycle]\nage = -1\n", 7, "age must be a number of seconds above 0"),
        ('workers = "all"\n' + WEB, 1, "workers must be one of auto, not 'all'"),
        ("workers = true\n" + WEB, 1, "workers must be a integer or string, not True"),
        ("workers = 0\n" + WEB, 1, "workers must be from 1 on"),
        ("recycle = 1\n" + WEB, 1, r"recycle must be a section, \[recycle\]"),
        (WEB + 'mode = "600"\n', 1, "mode is for the file of a unix:// address"),
        ('[endpoints.web]\naddress = "http://x"\nhandler = "a:b"\n', 2, "address: .* must begin with tcp://"),
        ('health = "http://x"\n' + WEB, 1, "health: .* must begin with tcp://"),
        ('[endpoints.web]\naddress = "unix:///x"\nhandler = "a:b"\nmode = "9"\n', 4, "mode: permissions are"),
        ('observe.access_log = ""\n' + WEB, 1, "access_log: the path of a file is"),
        ('observe.access_log_format = "$x"\n' + WEB, 1, "access_log_format: format: there is no"),
        (TLS + 'roots = "a\\u0000b"\n', 6, "roots: the path of a file is"),
        (TLS + 'password_file = ""\n', 6, "password_file: the path of a file is"),
        (TLS + 'handlers."é" = "a:b"\n', 6, "a protocol is .* not 'é'"),
        ('[endpoints.web]\nhandler = "a:b"\n', 1, "needs a key 'address'"),
        ('[endpoints."a:b"]\naddress = "tcp://*:1"\nhandler = "a:b"\n', 1, "without ':' and '/'"),
        ('[endpoints."a/b"]\naddress = "tcp://*:1"\nhandler = "a:b"\n', 1, "without ':' and '/'"),
        ('[endpoints.""]\naddress = "tcp://*:1"\nhandler = "a:b"\n', 1, "one or more ASCII characters"),
        ('control = ""\n' + WEB, 1, "control: path must not be empty"),
        (f'control = "/{"x" * 200}"\n' + WEB, 1, "path has 201 bytes"),
        ('[endpoints.web]\naddress = "stdio:"\nhandler = "a:b"\nsessions.idle = 4\n', 1, "sessions are for"),
        ("grace = 1\n", 1, "at least one section such as"),
        ("grace = 1\nx = = 2\n", 2, "Invalid value"),
        (f"grace = {'9' * 5000}\n" + WEB, "?", "for integer string conversion"),
        (f"grace = {'[' * 9000}\n" + WEB, "?", "recursion"),
    ],
)
def test_a_mistake_has_its_line(file, text, line, words):
    path = file(text)
    with pytest.raises(UsageError, match=words) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_a_file_that_cannot_be_read_is_the_machines_refusal(tmp_path):
    with pytest.raises(OperatingSystemError, match="No such file"):
        read_config(tmp_path / "none.toml")


def test_check_says_what_is_wrong_and_serves_nothing(file, capsys, refused):
    good = WEB.replace("a:b", "triosock.cli.handlers:echo")
    assert main(["serve", "--config", str(file(good)), "--check"]) == 0
    assert capsys.readouterr().out.endswith("server.toml: 1 endpoints, no mistake found\n")
    assert "there is no module 'a'" in refused(["serve", "--config", str(file(WEB)), "--check"])


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("echo", " is written module:function"),
        (".handlers:echo", " is written module:function"),
        ("a:b", ": there is no module 'a'"),
        ("os:path", " must be an async function of one connection"),
    ],
)
def test_a_handler_that_cannot_be_loaded_has_its_line_too(file, refused, word, says):
    path = file(WEB.replace("a:b", word))
    assert f"{path}:3: handler{says}" in refused(["serve", "--config", str(path), "--check"])


def test_a_handler_of_a_protocol_has_its_line_too(file, refused, tmp_path):
    files = write(tmp_path, trustme.CA(), "localhost")
    text = TLS.replace("a:b", "triosock.cli.handlers:echo").replace("cert.pem", files.chain.name)
    path = file(text + f'key = "{files.key.name}"\nhandlers.h2 = "a:b"\n')
    assert f"{path}:7: h2: there is no module 'a'" in refused(["serve", "--config", str(path), "--check"])


def test_the_schema_that_is_shipped_is_the_one_that_is_meant():
    shipped = Path(schema.__file__).with_name("server.schema.json").read_text()
    assert shipped == json.dumps(schema.json_schema(), indent=2) + "\n"


def test_the_schema_names_all_keys():
    made = schema.json_schema()
    endpoint = made["properties"]["endpoints"]["additionalProperties"]
    assert endpoint["required"] == ["address", "handler"]
    assert endpoint["additionalProperties"] is False
    assert "max_connections" in endpoint["properties"]["limits"]["properties"]
    assert endpoint["properties"]["limits"]["properties"]["overflow"]["enum"] == ["wait", "reject"]
    rate = endpoint["properties"]["limits"]["properties"]["datagram_rate_per_network"]
    assert rate["type"] == "string"
    assert "20/s:40" in rate["description"]


def test_all_rates_are_known_to_be_some():
    rates = {
        field.name
        for field in attrs.fields(triosock.Limits)
        if field.default is None and field.name != "adaptive"
    }  # only rates have no default
    assert rates == schema.RATES


def test_the_line_of_a_key_is_found_where_it_stands():
    text = 'a = 1\n[b]\na = 2\n[b."c d"]\na = 3\nx.y = 4\n'
    found = [("a",), ("b", "a"), ("b", "c d", "a"), ("b", "c d", "x", "y"), ("b", "c d", "x", "y", "z")]
    assert [find_line(text, path) for path in found] == [1, 3, 5, 6, 6]


def test_several_endpoints_are_served_from_a_file(file, tmp_path):
    path = file(
        '[endpoints.a]\naddress = "tcp://127.0.0.1:0"\nhandler = "triosock.cli.handlers:shout"\n'
        f'[endpoints.b]\naddress = "unix://{tmp_path}/echo"\nhandler = "triosock.cli.handlers:echo"\n'
    )
    with serve("--config", path) as program, dial(program.port()) as client:
        assert client.ask(b"hello\n") == b"HELLO\n"
        program.wait_for("listens on unix://")
        with dial(tmp_path / "echo") as other:
            assert other.ask(b"hello\n") == b"hello\n"
            program.signal()
            assert other.rest() == b""
        assert client.rest() == b""
    assert not (tmp_path / "echo").exists()


def test_an_adaptive_limit_is_a_section(file):
    path = file(
        WEB + "[endpoints.web.limits]\nmax_lag = 0.2\n[endpoints.web.limits.adaptive]\nmax_connections = 50\n"
    )
    (web,) = read_config(path).endpoints
    assert web.limits.max_lag == 0.2
    assert web.limits.adaptive == triosock.AdaptiveLimit(max_connections=50)
    path = file(WEB + "limits.adaptive = {}\n")
    assert read_config(path).endpoints[0].limits.adaptive == triosock.AdaptiveLimit()
    with pytest.raises(UsageError, match=r"server.toml:4: max_connections must be from min_connections"):
        read_config(file(WEB + "limits.adaptive = { max_connections = 1 }\n"))
