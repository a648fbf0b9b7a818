"""The course: the session of each lesson, its duration, and its goals.

The lessons' pages and the teachers' page are generated from it. The minutes are planned: prediction, run,
discussion and exercise together.
"""

from __future__ import annotations

from typing import Final

import attrs


@attrs.frozen
class Place:
    """The place of a lesson in the course: its `title`, its session, from 1 on, and its minutes."""

    title: str
    session: int
    minutes: int
    #: Each one continues "Afterwards you can".
    afterwards: tuple[str, ...]
    #: Whether it is optional: its minutes do not count for the session.
    is_optional: bool = False


#: The subject of each session.
SESSIONS: Final = (
    "Many connections, and who ends them",
    "Starting together, and giving up in time",
    "What goes wrong: failures, floods, and the end of a server",
    "Old handlers beside new ones, and rare failures",
)

COURSE: Final = {
    "lesson1": Place(
        "one connection at a time",
        session=1,
        minutes=40,
        afterwards=(
            "say what a server with one thread does while one client says nothing",
            "write a handler for `serve_tcp`, and say where in it another task may run",
            "say why a variable of a handler belongs to its connection",
        ),
    ),
    "lesson2": Place(
        "a thread per connection, and who ends them",
        session=1,
        minutes=45,
        afterwards=(
            "name the two ways to close a threading server, and the fault of each",
            "say who owns a task, and when the block of a nursery is left",
            "end a server with clients connected, and know that nothing of it is left",
        ),
    ),
    "lesson3": Place(
        "a nursery per server",
        session=2,
        minutes=45,
        afterwards=(
            "start several servers so that all of them run or none does",
            "say when `nursery.start` returns, and why no program has to sleep until a server is ready",
            "follow an error from the task that raised it to the code that opened the nursery",
        ),
    ),
    "lesson4": Place(
        "timeouts as scopes",
        session=2,
        minutes=40,
        afterwards=(
            "say why a timeout for each call does not bound a request",
            "put a deadline around a piece of work, and say which of several nested scopes is cancelled",
        ),
    ),
    "lesson5": Place(
        "a failure in one of many",
        session=3,
        minutes=30,
        afterwards=(
            "do parts of one answer at the same time, and say what happens to the others when one fails",
            "say which connections a failing handler ends",
        ),
    ),
    "lesson6": Place(
        "limits and backpressure",
        session=3,
        minutes=25,
        afterwards=(
            "limit the connections that are served at a time, and say where the others wait",
            "say what `await send_all` waits for, and why an unbounded queue undoes it",
        ),
    ),
    "lesson7": Place(
        "draining is not cancelling",
        session=3,
        minutes=35,
        afterwards=(
            "tell cancelling from draining, and say what each kind of client gets from both",
            "write a handler that tells the server when it is idle",
        ),
    ),
    "lesson8": Place(
        "threads that a nursery owns",
        session=4,
        minutes=40,
        afterwards=(
            "serve a handler class of the standard library, unchanged, in a nursery",
            "say how a thread learns that its deadline has passed, and which threads cannot be ended",
        ),
    ),
    "lesson9": Place(
        "the one run in a thousand that fails",
        session=4,
        minutes=45,
        afterwards=(
            "say why a test that passes a thousand times may have tried only one order of events",
            "find a race with seeds, and repeat the failing run",
            "say between which two lines of a task another one may run",
        ),
    ),
    "lesson10": Place(
        "many processes",
        session=4,
        minutes=35,
        afterwards=(
            "say which clients are lost when a program is restarted, and why",
            "let several processes accept from one listener, and replace them without losing a client",
            "say what processes share, and what each of them has separately",
        ),
        is_optional=True,
    ),
    "lesson11": Place(
        "unchanged handlers as tasks",
        session=4,
        minutes=45,
        is_optional=True,
        afterwards=(
            "say why a thread that waits cannot be cancelled, and when an injected exception reaches it",
            "serve a blocking handler class in tasks, without a change, and say when its `finally` runs",
            "find the call that blocks all the others, and move it into a thread",
        ),
    ),
}


def stands(lesson: str) -> str:
    """Return the place of a lesson in the course, in words."""
    place = COURSE[lesson]
    optional = ", optional" if place.is_optional else ""
    return f"session {place.session} of {len(SESSIONS)}, about {place.minutes} minutes{optional}"


def minutes_of(session: int) -> int:
    """Return the minutes of a session without its optional lessons."""
    return sum(
        place.minutes for place in COURSE.values() if place.session == session and not place.is_optional
    )
