"""The course: in which of its sessions a lesson stands, how long it takes, and what one knows after it.

The pages of the lessons and the teachers' page say what stands here. The minutes are those of a plan: of
prediction, run, discussion and exercise together.
"""

from __future__ import annotations

from typing import Final

import attrs


@attrs.frozen
class Place:
    """Where a lesson stands: its `title`, its session, from 1 on, and the minutes it takes."""

    title: str
    session: int
    minutes: int
    #: Each continues "Afterwards you can".
    afterwards: tuple[str, ...]
    #: Whether it is for those who have time left: its minutes are none of the session's.
    is_optional: bool = False


#: What each session is about.
SESSIONS: Final = (
    "Many connections, and who ends them",
    "Starting together, and giving up in time",
    "What goes wrong: failures, floods, and the end of a server",
    "Old handlers beside new ones, and the run in a thousand",
)

COURSE: Final = {
    "lesson1": Place(
        "one connection at a time",
        session=1,
        minutes=40,
        afterwards=(
            "say what a server with one thread does while one client says nothing",
            "write a handler for `serve_tcp`, and say where in it another task may get its turn",
            "say why a variable of a handler belongs to its connection",
        ),
    ),
    "lesson2": Place(
        "a thread per connection, and who ends them",
        session=1,
        minutes=45,
        afterwards=(
            "name the two ways to close a threading server, and what is wrong with each",
            "say who owns a task, and when the block of a nursery is left",
            "end a server, whoever is connected, and know that nothing of it is left",
        ),
    ),
    "lesson3": Place(
        "a nursery per server",
        session=2,
        minutes=45,
        afterwards=(
            "start several servers so that all of them run or none does",
            "say when `nursery.start` returns, and why no program has to sleep until a server is ready",
            "follow an error from the task that raised it to whoever opened the nursery",
        ),
    ),
    "lesson4": Place(
        "timeouts as scopes",
        session=2,
        minutes=40,
        afterwards=(
            "say why a timeout for each call bounds nothing",
            "put a deadline around a piece of work, and say what it cuts when scopes are nested",
        ),
    ),
    "lesson5": Place(
        "a failure in one of many",
        session=3,
        minutes=30,
        afterwards=(
            "do parts of one answer at the same time, and say what becomes of the others when one fails",
            "say what a failing handler costs, and whom",
        ),
    ),
    "lesson6": Place(
        "limits and backpressure",
        session=3,
        minutes=25,
        afterwards=(
            "bound how many are served at a time, and say where the others wait",
            "say what `await send_all` waits for, and why a queue without a bound undoes it",
        ),
    ),
    "lesson7": Place(
        "draining is not cancelling",
        session=3,
        minutes=35,
        afterwards=(
            "tell cancelling from draining, and say what each kind of client gets from either",
            "write a handler of which the server knows when it is idle",
        ),
    ),
    "lesson8": Place(
        "threads as guests in the tree",
        session=4,
        minutes=40,
        afterwards=(
            "serve a handler class of the standard library, unchanged, in a nursery",
            "say how a thread is told that its time is over, and what nobody can end",
        ),
    ),
    "lesson9": Place(
        "the run in a thousand",
        session=4,
        minutes=45,
        afterwards=(
            "say why a test that passes a thousand times may have tried one order of events",
            "find a race with seeds, and run the one that failed again",
            "say between which two lines of a task another one may run",
        ),
    ),
    "lesson10": Place(
        "many processes",
        session=4,
        minutes=35,
        afterwards=(
            "say who is lost when a program is stopped and started again, and why",
            "let several processes accept from one listener, and replace them without losing anybody",
            "say what processes share, and what each of them has for itself",
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
    """Return where a lesson stands in the course, in words."""
    place = COURSE[lesson]
    optional = ", optional" if place.is_optional else ""
    return f"session {place.session} of {len(SESSIONS)}, about {place.minutes} minutes{optional}"


def minutes_of(session: int) -> int:
    """Return how long a session takes, without what is optional in it."""
    return sum(
        place.minutes for place in COURSE.values() if place.session == session and not place.is_optional
    )
