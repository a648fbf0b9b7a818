"""Each lesson runs as a program, prints the output on its page, and writes its picture."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from examples.tutorial.course import COURSE, SESSIONS, minutes_of, stands
from examples.tutorial.exercises import EXERCISES

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "tutorial"

#: What each lesson prints, line by line; a name in angles stands for a number or an address.
PRINTS = {
    "lesson1": """
        socketserver.TCPServer
          Bob says hello while Ada says nothing: no answer
          shutdown() has returned: False
          shutdown() has returned after Ada has disconnected: True
          Bob, who has waited for an answer, gets: a reset
        triosock.serve_tcp
          Bob says hello while Ada says nothing: HELLO
          connections being served: 2
          Ada says something now: ME TOO
          the server drains; Ada gets: the end of the connection - and Bob: the end of the connection
          drained in <seconds> s: 2 finished, 0 failed, 0 left, 0 cancelled, 0 refused
    """,
    "lesson2": """
        ThreadingTCPServer, daemon_threads = True
          server_close() has returned; threads left: 1
          the closed server still answers Ada: ARE YOU THERE?
        ThreadingTCPServer, daemon_threads = False
          server_close() has returned: False
          server_close() has returned after Ada has disconnected: True
        triosock.serve_tcp in a nursery that is cancelled
          Ada: HELLO
          the port is closed: True
          connections left: 0
          Ada gets: the end of the connection
    """,
    "lesson3": """
        two servers in threads
          the program has failed: Address already in use
          Ada, who connects afterwards, is served: IS ANYBODY THERE?
          threads left that will serve for ever: 1
        two servers in a nursery
          Ada, who connects in between, is served: HELLO
          the program has failed: Address already in use
          the first server's port is closed: True
          Ada gets: the end of the connection
          tasks left: 0
    """,
    "lesson4": """
        socketserver, timeout = 1.0
          Ada, after a second and a half of letters: no answer
          Ada ends the line: hello aaaaaaaaaaaaaaa!
        triosock, conn.request(timeout=1.0)
          Ada, before she could send all 15 letters: too slow - True
          Bob was cancelled by the outer scope of half a second: True
    """,
    "lesson5": """
        helpers in threads
          Ada asks for tea and cake: 5
          a thread has failed: KeyError(b'gold')
          Ada asks for tea and gold: no answer
          Bob asks for tea: 2
          threads left: 1
        helpers in a nursery
          Ada asks for tea and cake: 5
          error in the log: KeyError(b'gold')
          Ada asks for tea and gold: a reset
          Bob asks for tea: 2
          {'failed': 1, 'finished': 1}
    """,
    "lesson6": """
        a thread per client, and an unbounded queue
          threads for 20 clients: 20
          the whole list is produced; most of it waits in memory: True
        Limits(max_connections=5), Timeouts(send=0.5)
          tasks for 20 clients: 5 at a time
          answered: 20
          the whole list was produced: False
          its client was cut by the timeout: send
    """,
    "lesson7": """
        the stdlib: shutdown(), server_close(), and the end of the process
          the client that waits for an answer gets: the end of the connection
          the client that is idle gets:             the end of the connection
          the client that has just connected gets:  a reset
        triosock: cancelled
          the client that waits for an answer gets: a reset
          the client that is idle gets:             the end of the connection
          the client that has just connected gets:  a reset
          ended without a drain in <seconds> s: 0 finished, 0 failed, 0 left, 2 cancelled, 0 refused
        triosock: drained
          the client that waits for an answer gets: WORK
          the client that is idle gets:             the end of the connection
          the client that has just connected gets:  HELLO
          drained in <seconds> s: 3 finished, 0 failed, 0 left, 0 cancelled, 0 refused
    """,
    "lesson8": """
        socketserver.ThreadingTCPServer
          half a second after the end, threads left: 2
        triosock.compat.ThreadingTCPServer, beside a native server in one nursery
          handlers in threads: 2 - and in tasks: 1
          at once, Bob gets: the end of the connection - and Cyd: the end of the connection
          after the grace, Ada gets: the end of the connection
          raised in the thread of Ada's handler: <reason> (drain deadline)
          native: 1 finished, 0 cut
          threads: 1 finished, 1 cut
          threads left: 0
    """,
    "lesson9": """
        a test with sleeps, of a server in threads
          the test has passed, times: 1000
        the same server on trio, simulated
          runs without a failure before the first one with it: <number>
          that seed again, ten times; the same failure: 10
          the correct office, runs without a failure: 300
          the failing run again, for the picture: both bought the ticket
    """,
    "lesson10": """
        one process, restarted
          Ada, in the middle of a request, loses it: True
          Bob connects in between, and is refused: True
          Cyd connects afterwards, and gets: HELLO
        triosock.serve_workers, two processes, replaced one after the other
          workers: 2 replaced
          visitors meanwhile: <number>
          visitors without an answer: 0
          Ada ends her line; an old process answers: True
          processes left: 0
    """,
    "lesson11": """
        socketserver.ThreadingTCPServer, and an exception injected into Ada's thread
          Ada says hello: HELLO
          half a second after the end, Ada's thread runs: True
          half a second after the exception, it runs: True - ended: []
          Ada has sent the rest of her line; ended: [SystemExit()]
        triosock.compat.GreenTCPServer, the same handler
          Bob says hello: HELLO - threads: 0
          at once, Bob gets: the end of the connection - ended: [None]
          after the grace, Ada gets: the end of the connection
          the server has ended; ended: [None, 'Cancelled']
        a handler that calls query()
          answered, in this order: 42 hello
          reported on standard error: triosock.compat: a green handler has run for 0.1 seconds without a wait
        a handler that calls compat.blocking(query)
          answered, in this order: hello 42
          reported on standard error: nothing
    """,
}


def expected(name):
    lines = [line[8:] for line in PRINTS[name].splitlines()[1:-1]]
    lines.append(f"The picture of this run: {name}.html")
    return [
        re.sub("<[a-z]+>", ".+", re.escape(line).replace(r"\<", "<").replace(r"\>", ">")) for line in lines
    ]


def test_every_lesson_is_here():
    names = {path.stem for path in FOLDER.glob("lesson*.py")}
    assert names == set(PRINTS) == set(EXERCISES) == set(COURSE)


def test_every_lesson_stands_in_the_course_and_says_so_on_its_page():
    assert {place.session for place in COURSE.values()} == set(range(1, len(SESSIONS) + 1))
    for name, place in COURSE.items():
        page = (ROOT / "docs" / "tutorial" / f"{name}.md").read_text("utf-8")
        assert page.startswith(
            f"# Lesson {name.removeprefix('lesson')}: {place.title}\n\n```{{lesson-place}} {name}\n```\n"
        )
        assert len(place.afterwards) >= 2
        assert 20 <= place.minutes <= 60
    for number in range(1, len(SESSIONS) + 1):
        assert minutes_of(number) <= 90


def printed_by(name, *arguments):
    command = [sys.executable, "-X", "dev", "-W", "error", FOLDER / f"{name}.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTS)
def test_lesson(name, tmp_path):
    printed, wanted = printed_by(name, tmp_path), expected(name)
    assert len(printed) == len(wanted), "\n".join(printed)
    for line, pattern in zip(printed, wanted, strict=True):
        assert re.fullmatch(pattern, line)
    picture = xml.etree.ElementTree.fromstring((tmp_path / f"{name}.svg").read_text("utf-8"))
    assert picture.tag.endswith("svg")
    assert "<svg" in (tmp_path / f"{name}.html").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTS)
def test_a_lesson_can_be_stepped_through(name, tmp_path):
    assert f"To step through this run: {name}.play.html" in printed_by(name, "--play", tmp_path)
    page = (tmp_path / f"{name}.play.html").read_text("utf-8")
    assert len(page.encode()) < 2_000_000
    source = (FOLDER / f"{name}.py").read_text("utf-8")
    assert page.count(json.dumps(source.splitlines()[0])[1:-1]) == 1  # its text, once


@pytest.mark.parametrize("name", PRINTS)
def test_a_lesson_opens_with_its_question(name):
    text = (FOLDER / f"{name}.py").read_text("utf-8")
    opening = text.split('"""')[1]
    assert opening.startswith(f"Lesson {name.removeprefix('lesson')}: ")
    for part in ("Question ", "Predict ", f"python examples/tutorial/{name}.py", f"check {name} mine.py"):
        assert part in opening
    assert f"\nCourse     {stands(name)}\n" in opening
