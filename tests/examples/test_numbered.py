"""Each numbered example as a process of its own, against real clients: it does what its docstring says."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess

import pytest
import trio
import trustme

from tests.certificates import replace, write
from tests.programs import PATIENCE, Client, dial, running, server_program, tool
from tests.tls import trusting
from tests.waiting import eventually

needs_nc = pytest.mark.skipif(not shutil.which("nc"), reason="nc is not installed")
needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


def refused(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


# 01


def test_echo_sends_lines_back_and_a_signal_ends_it_with_its_idle_client():
    with server_program("examples/01_echo.py", 0) as program, dial(program.port("echo")) as client:
        assert client.ask(b"hello\nagain\n") == b"hello\n"
        assert client.line() == b"again\n"
        program.signal(signal.SIGINT)
        assert client.rest() == b""
    assert "1 finished, 0 failed, 0 left, 0 cancelled, 0 refused" in program.output


# 02


@needs_nc
def test_greeter_greets_whoever_tells_a_name():
    with server_program("examples/02_greeter.py", 0, 60) as program:
        answer = tool("nc", "localhost", program.port("greeter"), stdin=b"Ada\n")
        assert answer == b"What is your name?\nHello, Ada!\n"


def test_greeter_says_goodbye_to_the_silent_and_cuts_the_slow():
    with server_program("examples/02_greeter.py", 0, 1) as program:
        with dial(program.port("greeter")) as silent, dial(program.port("greeter")) as slow:
            slow.say(b"Bo")
            assert silent.rest() == b"What is your name?\nNobody there? Goodbye.\n"
            assert slow.reset() == b"What is your name?\n"
        program.wait_for(r"closed after \S+ s: request,")


# 03


@needs_nc
def test_lines_is_a_store_that_all_connections_share():
    with server_program("examples/03_lines.py", 0) as program, dial(program.port("store")) as other:
        asked = b"set colour light blue\nget colour\nget size\nkeys\nnonsense\nquit\n"
        assert tool("nc", "localhost", program.port("store"), stdin=asked).splitlines() == [
            b"ok",
            b"light blue",
            b"error: no such key: size",
            b"colour",
            b"error: say: set KEY VALUE, get KEY, keys, or quit",
        ]
        other.say(b"get colour\nquit\n")
        assert other.rest() == b"light blue\n"


def test_an_endless_line_costs_its_own_connection_only():
    with server_program("examples/03_lines.py", 0) as program, dial(program.port("store")) as good:
        with dial(program.port("store")) as bad:
            bad.say(b"x" * 2000)
            assert bad.rest() == b""
        good.say(b"keys\nquit\n")
        assert good.rest() == b"\n"


# 04


def test_chat_brings_what_one_says_to_all():
    with server_program("examples/04_chat.py", 0) as program, dial(program.port("chat")) as ada:
        assert ada.line() == b"* 1 is here, 1 in all\n"
        with dial(program.port("chat")) as bob:
            assert bob.line() == ada.line() == b"* 2 is here, 2 in all\n"
            bob.say(b"hello\n")
            assert ada.line() == bob.line() == b"2: hello\n"
        assert ada.line() == b"* 2 has left\n"
        program.signal()
        assert ada.rest() == b""


# 05


def test_deploy_lets_an_upload_finish_and_refuses_who_comes_now():
    with server_program("examples/05_deploy.py", 0) as program:
        port = program.port()
        assert int(program.wait_for(r"process (\d+)")[1]) == program.process.pid
        with dial(port) as busy, dial(port) as idle:
            assert idle.ask(b"?\n") == b"error: say: put SIZE\n"
            assert busy.ask(b"put 10\n12345") == b"go on\n"
            program.signal()
            assert idle.rest() == b""  # the listeners are closed before any connection ends
            assert refused(port)
            busy.say(b"67890")
            assert busy.rest() == b"sha256 " + hashlib.sha256(b"1234567890").hexdigest().encode() + b"\n"
    assert "2 finished, 0 failed, 0 left, 0 cancelled, 0 refused" in program.output
    assert "every connection finished" in program.output


def test_deploy_cuts_who_is_not_done_at_the_end_of_the_grace_and_tells_where_it_was():
    with server_program("examples/05_deploy.py", 0, 0.2) as program, dial(program.port()) as stuck:
        assert stuck.ask(b"put 10\n12345") == b"go on\n"
        program.signal()
        assert stuck.reset() == b""
    assert "0 finished, 0 failed, 0 left, 1 cancelled, 0 refused" in program.output
    assert re.search(
        r"tcp://\S+: reading after \S+ s, at \S+05_deploy\.py:\d+ in take_uploads", program.output
    )
    assert "some connections were cut" in program.output


def test_the_second_signal_ends_it_at_once():
    with running("examples/05_deploy.py", 0) as program, dial(program.port()) as stuck:
        assert stuck.ask(b"put 10\n") == b"go on\n"
        program.signal()
        program.wait_for("drains: 1 connections")
        program.signal_again()
        assert program.wait() == 128 + signal.SIGTERM


# 06


def test_control_socket_suspends_resumes_and_drains_the_server_beside_it(tmp_path):
    path = tmp_path / "control.sock"
    with running("examples/06_control.py", 0, path) as program:
        port = program.port("echo")
        program.wait_for("control: listens on")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with dial(path) as control, dial(port) as client:
            assert client.ask(b"hi\n") == b"hi\n"
            assert control.ask(b"suspend\n") == b"suspend: done\n"
            with dial(port) as waiting:
                waiting.say(b"is anybody there?\n")
                assert control.ask(b"status\n") == b"1 connected, 1 so far\n"
                assert control.ask(b"resume\nhelp\n") == b"resume: done\n"
                assert control.line() == b"say: status, suspend, resume, or drain\n"
                assert waiting.line() == b"is anybody there?\n"
                control.say(b"drain\n")
                assert client.rest() == waiting.rest() == b""
                report = control.rest()
        assert re.match(rb"drained in \S+ s: 2 finished, 0 failed, 0 left, 0 cancelled, 0 refused\n$", report)
        assert program.wait() == 0
        assert not path.exists()


@needs_nc
def test_control_socket_answers_nc(tmp_path):
    with running("examples/06_control.py", 0, "control.sock", cwd=tmp_path) as program:
        program.wait_for("control: listens on")
        answer = tool("nc", "-U", tmp_path / "control.sock", stdin=b"status\ndrain\n")
        assert re.match(rb"0 connected, 0 so far\ndrained in \S+ s: 0 finished", answer)
        assert program.wait() == 0
        assert not list(tmp_path.iterdir())


# 07


@needs_openssl
async def test_tls_with_a_certificate_made_on_the_spot():
    with running("examples/07_tls.py", 0) as program, trio.fail_after(PATIENCE):
        command = ["openssl", "s_client", "-quiet", "-connect", f"localhost:{program.port('tls')}"]
        openssl = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        async with openssl.stdin, openssl.stdout:
            await openssl.stdin.send_all(b"hello\n")
            received = b""
            while b"HELLO\n" not in received:
                received += await openssl.stdout.receive_some()
            assert re.match(rb"this is TLSv1\.\d with \S+\nHELLO\n$", received)
            assert program.stop() == 0
            await openssl.wait()


def test_tls_with_files_and_a_client_that_speaks_no_tls(tmp_path):
    authority = trustme.CA()
    files, context = write(tmp_path, authority, "localhost"), trusting(authority)
    with server_program("examples/07_tls.py", 0, files.chain, files.key) as program:
        with dial(program.port("tls")) as client, dial(program.port("tls")) as plain:
            plain.say(b"GET / HTTP/1.0\r\n\r\n")
            plain.rest()
            with context.wrap_socket(client.sock, server_hostname="localhost") as client.sock:
                assert client.line().startswith(b"this is TLSv1")
                assert client.ask(b"hello\n") == b"HELLO\n"
                program.signal()
                assert client.rest() == b""


# 08


@needs_curl
def test_http_answers_two_requests_over_one_connection():
    with server_program("examples/08_http.py", 0) as program:
        urls = [f"http://localhost:{program.port('http')}/{name}" for name in ("one", "two")]
        arguments = ["--silent", "--write-out", " with %{num_connects} new, code %{http_code}\n"]
        assert tool("curl", *arguments, *urls).splitlines() == [
            b"you asked for /one with 1 new, code 200",
            b"you asked for /two with 0 new, code 200",
        ]
        assert tool("curl", *arguments, "--data", "x" * 100_000, *urls).endswith(
            b"/two with 0 new, code 200\n"
        )
        assert b"200 with 1 new" not in tool("curl", *arguments, "--head", *urls)


def test_http_answers_pipelined_requests_and_nonsense():
    with server_program("examples/08_http.py", 0) as program, dial(program.port("http")) as client:
        client.say(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n")
        answers = client.rest()
        assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"200", b"400"]
        assert re.findall(rb"asked for (/\w)", answers) == [b"/a", b"/b"]


def test_http_drains_between_requests_and_not_within_one():
    with server_program("examples/08_http.py", 0) as program:
        port = program.port("http")
        with dial(port) as idle, dial(port) as busy:
            get_first(idle)
            get_first(busy)
            busy.say(b"POST /second HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
            get_first(idle)  # what the other has said before has been read by then
            program.signal()
            assert idle.rest() == b""
            busy.say(b"cde")
            answer = busy.rest()
            assert answer.endswith(b"you asked for /second")
            assert b"Connection: close\r\n" in answer
    assert "2 finished, 0 failed, 0 left, 0 cancelled, 0 refused" in program.output


def get_first(client: Client) -> None:
    """Ask for /first, and take the answer."""
    client.say(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = client.line()
        assert line, head
        head += line
    assert b"Connection: close" not in head
    length = int(re.search(rb"Content-Length: (\d+)", head)[1])
    assert client.exactly(length) == b"you asked for /first"


# 09


def test_limits_send_the_fourth_away_and_cut_who_does_not_read():
    with server_program("examples/09_limits.py", 0, 2) as program:
        port = program.port("count")
        with dial(port) as one, dial(port) as two, dial(port) as three:
            for client in (one, two, three):
                assert client.line() == b"000000000\n"
            with dial(port) as fourth:
                assert fourth.rest() == b"three are here already; come back later\n"
            program.wait_for(r"(?s)(closed after \S+ s: send,.*?){3}")
        sent = [int(number) for number in re.findall(r"send, 0 bytes received, (\d+) sent", program.output)]
        assert len(sent) == 3
        assert max(sent) < 50_000_000  # what the kernel's buffers hold, and no more


# 10


def test_frames_are_found_however_they_arrive():
    def frame(payload: bytes) -> bytes:
        return struct.pack(">I", len(payload)) + payload

    with server_program("examples/10_frames.py", 0) as program, dial(program.port("frames")) as client:
        for byte in frame(b"\0abc\n"):
            client.say(bytes([byte]))
        assert client.exactly(9) == frame(b"\ncba\0")
        client.say(frame(b"") + frame(b"xy"))
        assert client.exactly(10) == frame(b"") + frame(b"yx")
        client.say(struct.pack(">I", 1_000_001))
        assert client.rest() == b""


# 11


@needs_nc
def test_rates_answer_two_a_second_and_five_connections():
    with server_program("examples/11_rates.py", 0) as program:
        port = program.port("rates")
        said = tool("nc", "localhost", port, stdin=b"hello\n" * 4).splitlines()
        assert said[:2] == [b"HELLO"] * 2
        assert re.fullmatch(rb"ask again in 0\.\d s", said[-1])
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(dial(port)) for _ in range(20)]
            clients[-1].say(b"hello\n")
            assert clients[-1].rest() == b"you come too often\n"


# 12


def test_each_name_has_its_certificate_and_a_new_one_is_noticed(tmp_path):
    authority = trustme.CA()
    context = trusting(authority)

    def put(name):
        replace(tmp_path / f"{name}.pem", authority.issue_cert(name).private_key_and_cert_chain_pem.bytes())

    def ask(name):
        with dial(program.port("names")) as client:
            with context.wrap_socket(client.sock, server_hostname=name) as client.sock:
                assert client.line() == f"you asked for {name}\n".encode()
                return client.sock.getpeercert(binary_form=True)

    for name in ("example.org", "shop.example"):
        put(name)
    with server_program("examples/12_certificates.py", 0, tmp_path) as program:
        before = ask("shop.example")
        assert ask("example.org") != before
        put("shop.example")
        assert eventually(lambda: ask("shop.example") != before)  # it is looked for once in a second
        program.wait_for("certificates loaded for example.org, shop.example; valid until")


@needs_openssl
def test_without_a_folder_it_makes_certificates_of_its_own():
    with server_program("examples/12_certificates.py", 0) as program:
        options = ["-quiet", "-servername", "shop.example", "-connect", f"localhost:{program.port('names')}"]
        assert tool("openssl", "s_client", *options) == b"you asked for shop.example\n"


# 13


def test_who_would_have_to_wait_is_told_and_the_others_are_served():
    with server_program("examples/13_overload.py", 0) as program, contextlib.ExitStack() as stack:
        port = program.port("late")
        clients = []
        program.signal(signal.SIGSTOP)  # until all of them stand in the queue
        for _ in range(60):
            clients.append(client := stack.enter_context(dial(port)))
            client.say(b"hello\n")
            client.sock.shutdown(socket.SHUT_WR)
        program.signal(signal.SIGCONT)
        answers = [client.rest() for client in clients]
        assert set(answers) == {b"HELLO\n", b"busy, try again\n"}
        program.wait_for("overloaded: ")
