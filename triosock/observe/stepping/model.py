"""The values that a recorder keeps: happenings, and the state of all tasks that they lead to.

The invariant: **a state and the happenings after it are a complete recording**: applied one by one, they give
the tree of nurseries and tasks at each moment. The page does the same in JavaScript.

Tasks and nurseries have numbers, from 1 on, in the order in which they were first seen. Nursery 0 is the top
of a trio run. Times are seconds from the first event.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, TypeAlias, final

import attrs

#: spawn    a task is started, and not yet run    run      it runs
#: pause    it let others run                    wait     it waits for something
#: wake     it is runnable                       cancel   it is runnable, and will get Cancelled
#: started  it moved to another nursery          open, close   a nursery of this task
#: end      it returned     fail   it raised     gone     it ended because it was cancelled
#: event    an event of a server
Kind: TypeAlias = Literal[
    "spawn",
    "run",
    "pause",
    "wait",
    "wake",
    "cancel",
    "started",
    "open",
    "close",
    "end",
    "fail",
    "gone",
    "event",
]
ENDS: Final = frozenset({"end", "fail", "gone"})


class Happening(NamedTuple):
    """One step or event of a task; `task` is 0 for none.

    `by` is the task that did it: None if it was the system (input, output, time) and 0 for one of trio's
    system tasks, or another thread. `other` is a nursery, `deadline` a time.
    """

    time: float
    kind: Kind
    task: int
    by: int | None = None
    stack: Any = None
    other: int | None = None
    text: str | None = None
    deadline: float | None = None


@final
@attrs.define(eq=False)
class TaskState:
    """A task that has not ended, after its last happening."""

    name: str
    nursery: int
    kind: Kind = "spawn"
    time: float = 0.0
    stack: Any = None
    deadline: float | None = None
    #: The stack that started it.
    origin: Any = None
    by: int | None = None


@final
@attrs.define(eq=False)
class State:
    """All tasks that have not ended, and the open nurseries, each with its task."""

    tasks: dict[int, TaskState] = attrs.field(factory=dict)
    nurseries: dict[int, int] = attrs.field(factory=dict)
    time: float = 0.0

    def apply(self, one: Happening) -> None:
        """Change the state as this happening did."""
        self.time = one.time
        if one.kind == "spawn":
            self.tasks[one.task] = TaskState(
                one.text or "", one.other or 0, time=one.time, origin=one.stack, by=one.by
            )
        elif one.kind in ENDS:
            self.tasks.pop(one.task, None)
        elif one.kind == "open":
            self.nurseries[one.other or 0] = one.task
        elif one.kind == "close":
            self.nurseries.pop(one.other or 0, None)
        elif (task := self.tasks.get(one.task)) is not None:
            if one.kind == "started":
                task.nursery = one.other or 0
            elif one.kind != "event":
                task.kind, task.time = one.kind, one.time
                if one.kind in ("pause", "wait"):
                    task.stack, task.deadline = one.stack, one.deadline
