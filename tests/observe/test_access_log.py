"""The access log: a line for each end, in a format or as JSON; and records of logging as JSON."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter

import pytest
import trio

import triosock
from tests.handlers import ask, ask_line, shout
from tests.observe.runs import shop
from tests.servers import connected, drained, running
from tests.tls import dial_tls, server_context
from tests.waiting import PATIENCE
from triosock import events
from triosock._core.model.addresses import MemoryAddress, TcpAddress, UnixAddress
from triosock._core.model.events import Cause
from triosock.observe import AccessLog, JsonFormatter, StatisticsObserver
from triosock.observe.access_log import VARIABLES, escape

PEER = TcpAddress("192.0.2.7", 4711)
LOCAL = TcpAddress("192.0.2.1", 443)


def opened(number=1, peer=PEER, server="web"):
    return events.ConnectionOpened(server=server, time=1.0, connection=number, peer=peer, local=LOCAL)


def closed(number=1, peer=PEER, server="web", **fields):
    ours = {"cause": Cause.FINISHED, "received": 10, "sent": 20, "duration": 1.5, **fields}
    return events.ConnectionClosed(server=server, time=2.5, connection=number, peer=peer, **ours)


def line_of(format, *happened):
    lines = []
    log = AccessLog(lines.append, format=format)
    for event in happened:
        log.on_event(event)
    (line,) = lines
    return line


# Formats


async def test_a_line_for_each_connection(autojump_clock):
    lines, counted = [], StatisticsObserver()
    await shop(observers=(AccessLog(lines.append, format="$connection $cause"), counted))
    assert len({line.split()[0] for line in lines}) == len(lines) == 8
    assert Counter(line.partition(" ")[2] for line in lines) == counted.ended


def test_a_format_has_the_variables_of_nginx():
    shake = events.HandshakeFinished(
        server="web", time=1.1, connection=1, peer=TcpAddress("2001:db8::9", 5),
        duration=0.1, tls_version="TLSv1.3", cipher="TLS_AES_128_GCM_SHA256", alpn="h2",
    )  # fmt: skip
    line = line_of(
        "$remote_addr $remote_port|$realip_remote_addr:$realip_remote_port|$server_addr:${server_port} "
        "$protocol $ssl_protocol $ssl_cipher $ssl_alpn_protocol $bytes_received/$bytes_sent "
        "${session_time}s $cause $server $connection $$",
        opened(),
        shake,
        closed(peer=TcpAddress("2001:db8::9", 5)),
    )
    assert line == (
        "2001:db8::9 5|192.0.2.7:4711|192.0.2.1:443 TCP TLSv1.3 TLS_AES_128_GCM_SHA256 h2 10/20 1.500s "
        "finished web 1 $"
    )


def test_times_are_written_as_nginx_does():
    line = line_of("[$time_local] $time_iso8601 $msec", opened(), closed())
    assert re.fullmatch(
        r"\[\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d \d{10}\.\d{3}",
        line,
    )


def test_every_variable_has_a_value_of_every_kind_of_end():
    format = " ".join(f"${name}" for name in VARIABLES)
    for peer in (PEER, UnixAddress(""), UnixAddress("\0abstract"), MemoryAddress("m")):
        assert len(
            line_of(format, opened(peer=peer), closed(peer=peer, error=ValueError("x"))).split()
        ) >= len(VARIABLES)
    assert " - " in line_of(format, closed())  # opened before the observer was there


@pytest.mark.parametrize(
    ("format", "says"),
    [
        ("$nonsense", r"there is no \$nonsense; there are: bytes_received,"),
        ("costs 5 $", "followed by no name"),
        ("$remote_addr\n", "one line of printable"),
    ],
)
def test_a_wrong_format_is_refused_when_it_is_made(format, says):
    with pytest.raises(ValueError, match=says):
        AccessLog(print, format=format)


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match="format must be a str"):
        AccessLog(print, format=7)
    with pytest.raises(TypeError, match="write must be a function"):
        AccessLog("access.log")
    with pytest.raises(ValueError, match="of must be one of 'connections', 'requests', not 'bytes'"):
        AccessLog(print, of="bytes")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('say "hi"', r"say \x22hi\x22"),
        ("a\nb\x1b[2J\\", r"a\x0Ab\x1B[2J\x5C"),
        ("ü", r"\xC3\xBC"),
        ("\udcff", r"\xFF"),
        ("\ud800", r"\x5Cud800"),
        (None, "-"),
        ("x" * 1000, "x" * 253 + "..."),
    ],
)
def test_what_a_peer_chose_stays_in_its_place(value, text):
    assert escape(value) == text


def test_a_hostile_name_is_one_bounded_line():
    peer = UnixAddress('/tmp/\n"x\x1b[2J' + "y" * 90)
    for format in ("$remote_addr $error", "json"):
        error = ValueError("boom\n" * 100_000)
        line = line_of(format, opened(peer=peer), closed(peer=peer, cause=Cause.FAILED, error=error))
        assert line.isprintable()
        assert line.isascii()
        assert len(line) < 6_000


async def test_requests_have_lines_of_their_own_and_so_have_datagrams():
    lines = []
    log = AccessLog(lines.append, of="requests", format="$server $protocol $cause $request_time")
    async with connected(shout, observers=(log,), name="shouts") as (_, client):
        for _ in range(2):
            assert await ask_line(client, b"hello\n") == b"HELLO\n"
    assert len(lines) == 2
    assert re.fullmatch(r"shouts MEMORY finished \d+\.\d{3}", lines[0])
    lines.clear()
    options = {"host": "127.0.0.1", "name": "u", "observers": (log,)}
    async with running(triosock.serve_udp, answer, 0, **options) as server:
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
            await sock.sendto(b"x", server.addresses[0].sockaddr)
            with trio.fail_after(PATIENCE):
                assert await sock.recv(10) == b"x"
        await drained(server)
    (line,) = lines
    assert re.fullmatch(r"u UDP finished \d+\.\d{3}", line)


async def answer(datagram):
    await datagram.reply(datagram.data)


# JSON


def test_the_fields_are_those_of_ecs():
    fields = json.loads(line_of("json", opened(), closed()))
    assert fields["ecs.version"] == "8.11.0"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields["@timestamp"])
    assert fields["event.end"] == fields["@timestamp"] > fields["event.start"]
    expected = {
        "event.action": "connection-closed",
        "event.category": ["network"],
        "event.type": ["connection", "end"],
        "event.outcome": "success",
        "event.reason": "finished",
        "event.duration": 1_500_000_000,
        "service.name": "web",
        "client.address": "192.0.2.7",
        "client.ip": "192.0.2.7",
        "client.port": 4711,
        "client.bytes": 10,
        "server.ip": "192.0.2.1",
        "server.port": 443,
        "server.bytes": 20,
        "network.transport": "tcp",
        "network.type": "ipv4",
        "log.level": "info",
        "triosock.connection": 1,
    }
    assert {name: fields[name] for name in expected} == expected
    assert "source.ip" not in fields
    assert "error.type" not in fields


async def test_tls_is_in_them(serving):
    lines = []
    log = AccessLog(lines.append, format="json")
    async with serving(shout, tls=server_context(), observers=[log]) as server:
        stream = await dial_tls(server)
        assert await ask(stream, b"hello\n") == b"HELLO\n"
        await stream.aclose()
        await drained(server)
    fields = json.loads(lines[0])
    assert fields["tls.version"] == "1.3"
    assert fields["tls.version_protocol"] == "tls"
    assert fields["tls.cipher"].startswith("TLS_")


def test_an_outcome_is_unknown_when_it_was_not_the_servers():
    for cause, outcome in [(Cause.IDLE, "unknown"), (Cause.PEER, "unknown"), (Cause.SEND, "failure")]:
        assert json.loads(line_of("json", opened(), closed(cause=cause)))["event.outcome"] == outcome


def test_a_clock_that_jumps_makes_no_negative_duration(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 5.0)  # back to 1970
    fields = json.loads(line_of("json", opened(), closed()))
    assert fields["event.duration"] == 1_500_000_000
    assert (fields["event.start"], fields["event.end"]) == (
        "1970-01-01T00:00:03.500Z",
        "1970-01-01T00:00:05.000Z",
    )


def test_nothing_is_kept_of_what_has_ended():
    log = AccessLog(lambda line: None)
    for number in range(100):
        log.on_event(opened(number))
    for number in range(50):
        log.on_event(closed(number))
    assert len(log._ends) == 50
    log.on_event(opened(1, server="other"))
    log.on_event(events.ServerClosed(server="web", time=3.0))
    assert len(log._ends) == 1


# logging


def formatted(**fields):
    fields = {"level": logging.WARNING, "msg": "hello %s", "args": ("you",), "exc_info": None, **fields}
    level, extra = fields.pop("level"), fields.pop("extra", {})
    record = logging.LogRecord(
        "shop", level, "/srv/shop.py", 12, fields["msg"], fields["args"], fields["exc_info"]
    )
    vars(record).update(extra)
    line = JsonFormatter().format(record)
    assert line.isprintable()
    return json.loads(line)


def test_any_record_is_a_line_of_json():
    fields = formatted(extra={"order": 7, "what": "a\nb", "half": float("inf")})
    assert fields["message"] == "hello you"
    assert fields["log.level"] == "warning"
    assert fields["log.logger"] == "shop"
    assert (fields["log.origin.file.name"], fields["log.origin.file.line"]) == ("shop.py", 12)
    assert fields["labels.order"] == 7
    assert fields["labels.what"] == "a\nb"
    assert fields["labels.half"] is None


@pytest.mark.parametrize("name", ["ecs", "triosock"])
@pytest.mark.parametrize("value", ["a cluster", {"message": "no"}, None])
def test_a_program_may_have_labels_of_any_name(name, value):
    fields = formatted(extra={name: value})
    assert fields["message"] == "hello you"
    assert fields.get(f"labels.{name}") == (None if value is None else str(value))


def test_an_error_has_its_traceback_of_which_the_end_is_kept():
    try:
        raise ValueError("x" * 20_000 + "the end")
    except ValueError as error:
        fields = formatted(exc_info=(type(error), error, error.__traceback__))
    assert fields["error.type"] == "ValueError"
    assert len(fields["error.message"]) == 1_000
    assert len(fields["error.stack_trace"]) == 10_000
    assert fields["error.stack_trace"].endswith("the end")


async def test_the_log_of_a_server_has_the_fields_of_its_events(caplog):
    logger = logging.getLogger("tests.access")
    with caplog.at_level(logging.DEBUG):
        log = AccessLog(logger, format="$cause")
        async with connected(shout, name="shouts", observers=(log,)) as (_, client):
            assert await ask_line(client, b"hello\n") == b"HELLO\n"
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    (ours,) = [line for line in lines if line["log.logger"] == "tests.access"]
    assert (ours["message"], ours["event.action"]) == ("finished", "connection-closed")
    assert ours["client.bytes"] == ours["server.bytes"] == 6
    told = [line for line in lines if line["log.logger"] == "triosock"]
    (end,) = [line for line in told if line.get("event.action") == "connection-closed"]
    assert (end["service.name"], end["event.reason"], end["triosock.connection"]) == ("shouts", "finished", 1)
