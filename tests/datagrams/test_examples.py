"""Each example of datagrams as a process of its own, against its real client."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from tests.programs import PATIENCE, ROOT, running

FOLDER = "examples/datagrams"
needs_dns = pytest.mark.skipif(not importlib.util.find_spec("dns"), reason="dnspython is not installed")


def needs(tool):
    return pytest.mark.skipif(not shutil.which(tool), reason=f"{tool} is not installed")


def port_of(program, name):
    return int(program.wait_for(rf"{name}: listens on udp://[^\s,]+:(\d+)[\s,]")[1])


def run(*command, stdin=b""):
    done = subprocess.run(
        [str(part) for part in command], input=stdin, capture_output=True, timeout=PATIENCE, check=False
    )
    return done.stdout.decode()


def ends(program, number=signal.SIGTERM):
    program.signal(number)
    assert program.wait() == 0
    return program.output


def test_every_example_is_tested():
    here = (ROOT / "tests/datagrams/test_examples.py").read_text()
    for path in (ROOT / FOLDER).glob("*.py"):
        assert f'running(f"{{FOLDER}}/{path.name}"' in here


class Nc:
    """A process of nc, which sends what it is told to, and what it has received."""

    def __init__(self, process):
        self.process = process

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def line(self):
        """Return the next line that it has received."""
        line = self.process.stdout.readline().decode()
        assert line, "nc has ended"
        return line


@contextlib.contextmanager
def nc(port):
    command = ["nc", "-4", "-u", "localhost", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            yield Nc(process)
        finally:
            watchdog.cancel()
            watchdog.join()
            process.kill()


@needs("nc")
def test_daytime_tells_nc_the_time():
    with running(f"{FOLDER}/daytime.py", 0) as program:
        port = port_of(program, "daytime")
        with nc(port) as client:
            client.send(b"\n")
            assert "-UTC" in client.line()
        assert "0 finished, 0 failed, 0 left, 0 cancelled, 0 refused" in ends(program)


@needs("dig")
@needs_dns
def test_dns_zone_answers_dig():
    with running(f"{FOLDER}/dns_zone.py", 0) as program:
        port = port_of(program, "zone")

        def dig(*question):
            return run("dig", "@127.0.0.1", "-p", port, "+tries=2", "+time=5", *question)

        assert sorted(dig("+short", "www.example.test").split()) == ["192.0.2.1", "192.0.2.2"]
        assert dig("+short", "WWW.Example.TEST", "AAAA").strip() == "2001:db8::1"
        assert dig("+short", "example.test", "TXT").strip() == '"hello from triosock"'
        assert "status: NXDOMAIN" in dig("nowhere.test")
        empty = dig("www.example.test", "MX")
        assert "status: NOERROR" in empty
        assert "ANSWER: 0" in empty
        full = dig("+bufsize=4096", "many.example.test")
        assert "ANSWER: 200" in full
        assert " tc" not in full
        # +ignore: do not ask again over TCP
        assert " tc" in dig("+ignore", "+noedns", "many.example.test").split("flags:")[1].split(";")[0]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"no DNS", ("127.0.0.1", port))
        program.wait_for("handler failed")
        assert dig("+short", "example.test").strip() == "192.0.2.1"
        program.expects_trouble = True
        ends(program, signal.SIGINT)


@needs("logger")
def test_the_syslog_collector_hears_logger():
    with running(f"{FOLDER}/syslog_collector.py", 0) as program:
        port = port_of(program, "syslog")
        for form in ("--rfc3164", "--rfc5424"):
            logger = ("logger", "-n", "127.0.0.1", "-P", port, "-d", form, "-t", "test")
            run(*logger, "-p", "user.info", f"all is well, {form}")
            run(*logger, "-p", "user.err", f"the disk is full, {form}")
            program.wait_for(f"err: .*the disk is full, {form}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"no syslog", ("127.0.0.1", port))
            client.sendto(b"<8>" + b"x" * 9_000, ("127.0.0.1", port))
        program.wait_for(r"emerg \(cut\): x{8189}\n")
        output = ends(program)
        assert "all is well" not in output
        assert "6 handled, {} dropped, 0 lost in the kernel" in output


@needs("nc")
def test_the_arena_tells_everybody_where_all_are():
    with running(f"{FOLDER}/arena.py", 0) as program:
        port = port_of(program, "arena")
        with nc(port) as player:
            player.send(b"right\n")
            while player.line() != "1:1,0\n":
                pass
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.settimeout(PATIENCE)
                other.connect(("127.0.0.1", port))
                other.send(b"down")
                while other.recv(1_000) != b"1:1,0 2:0,1\n":
                    pass
                while player.line() != "1:1,0 2:0,1\n":
                    pass
                other.send(b"quit")
                while player.line() != "1:1,0\n":
                    pass
            assert "1 finished, 0 failed, 0 left, 0 cancelled, 0 refused" in ends(program)
