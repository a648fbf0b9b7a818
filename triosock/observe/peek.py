"""Describes the process that it runs in, in any state of that process, for `triosock top --pid`.

The interpreter runs it between two instructions of the main thread (`sys.remote_exec`), or a signal handler
calls it. So the rules are strict:

1. **Nothing is imported, nothing is locked, nothing is changed.** Modules that are not loaded yet are not
   described, and a lock may be held by this thread itself.
2. **It takes a few milliseconds**: after `BUDGET` seconds the remaining tasks are counted, and not described.
   The garbage collector is off meanwhile.
3. **Nothing is left**: this file has no class, which would be a reference cycle, and the caller that runs it
   as a script clears its names.
4. It needs no other file: it also runs, as compiled code, where triosock is not installed.

The answer is a Python literal in a file. A line in a pipe says that the file is complete.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False  # without the module typing, which need not be loaded
if TYPE_CHECKING:
    from typing import Any

#: Seconds for describing. An inspection may take 5 ms; the rest of them is for writing.
BUDGET = 0.002
#: The two files, in the directory that `top` has made.
ANSWER, PIPE = "answer", "pipe"
#: The longest text, in characters.
MAX_TEXT = 300
#: How deep nurseries are followed.
MAX_DEPTH = 40
FIELDS = ("kind", "name", "state", "peer", "age", "due", "due_to", "where", "counts", "more", "children")


def answer(directory: str, limit: int) -> None:
    """Write a description of this process into a file in `directory`. Raises nothing, since an inspection
    must not end the process.
    """
    began, cpu = time.perf_counter(), time.thread_time()
    gc = sys.modules.get("gc")
    collects = gc is not None and gc.isenabled()
    if gc is not None and collects:
        gc.disable()
    try:
        try:
            text = repr(peek(limit))
        except Exception as error:  # of any kind: the program is not ours
            text = repr({"error": describe_error(error)})
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        write_file(os.path.join(directory, ANSWER), flags, text.encode("utf-8", "backslashreplace"))
        took = f"{time.perf_counter() - began:.6f} {time.thread_time() - cpu:.6f}\n"
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        write_file(os.path.join(directory, PIPE), flags, took.encode())
    except OSError:
        pass  # `top` has gone
    finally:
        if gc is not None and collects:
            gc.enable()


def describe_error(error: Exception) -> str:
    """Return "ValueError: what it says", or only its class, if its text cannot be had."""
    name = type(error).__name__
    try:
        return name + ": " + str(error)[:MAX_TEXT]
    except Exception:  # of the program's code
        return name


def write_file(path: str, flags: int, data: bytes) -> None:
    """Open a file with these flags, and write all of `data`. Raises: OSError."""
    descriptor = os.open(path, flags, 0o600)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def peek(limit: int) -> dict[str, Any]:
    """Return the tree of this process: dicts with the fields of `Node`.

    Args: `limit`, the number of tasks of each nursery and of connections of each server to describe; of a
    server in a trio run at most 20 connections.
    """
    look = {"limit": limit, "until": time.perf_counter() + BUDGET, "foreign": foreign_places()}
    threads = thread_names()
    here = current_thread()
    children = []
    frame = None
    for ident, frame in sys._current_frames().items():
        runner = runner_of(frame)
        name = threads.get(ident, str(ident))
        if runner is None:
            children.append(node("thread", name=name, where=innermost(call_stack(frame), look)))
        else:
            inside = servers_here(look) if ident == here else []
            children.append(run_node(runner, name, inside, look))
    del frame  # it may be that of this very call, which would be a cycle
    children += compat_servers(look)
    children.sort(key=lambda one: KINDS.get(one["kind"], 0))
    return node("run", name=f"process {os.getpid()}", children=children)


#: Sorted last: threads without a trio run.
KINDS = {"thread": 1}


def node(kind: str, **fields: Any) -> dict[str, Any]:
    """Return a node with these fields; all others are empty."""
    whole = {
        "kind": kind, "name": "", "state": "", "peer": "", "age": None, "due": None, "due_to": "",
        "where": "", "counts": [], "more": 0, "children": [], **fields,
    }  # fmt: skip
    return {name: plain(value) for name, value in whole.items()}


def plain(value: Any) -> Any:
    """Return a value that is written as a literal: an infinite number becomes None, a text is shortened."""
    if isinstance(value, float):
        return value if -1e12 < value < 1e12 else None
    if isinstance(value, str):
        return str(value)[:MAX_TEXT]
    return value


def is_over(look: dict[str, Any]) -> bool:
    """Whether the time for describing is over."""
    return bool(time.perf_counter() > look["until"])


# Where a thread or a task is


def foreign_places() -> tuple[str, ...]:
    """Return the directories whose code is not the program's: the standard library's, trio's, triosock's."""
    places = [os.path.dirname(os.__file__) + os.sep]
    for name in ("trio", "triosock"):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file:
            places.append(os.path.dirname(file) + os.sep)
    return tuple(places)


def call_stack(frame: Any) -> list[tuple[Any, int]]:
    """Return the calls of a thread, the innermost first, without those of this file."""
    calls = []
    while frame is not None:
        if frame.f_globals.get("__name__") != __name__:
            calls.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return calls


def innermost(calls: list[tuple[Any, int]], look: dict[str, Any]) -> str:
    """Return the innermost call in the program's own code, as "file:line in function"; "" without one."""
    for code, line in calls:
        file = code.co_filename
        stdlib, *others = look["foreign"]
        is_stdlib = file.startswith(stdlib) and "-packages" + os.sep not in file
        if not is_stdlib and not file.startswith(("<", *others)):
            return f"{os.path.basename(file)}:{line} in {code.co_name}"
    return ""


def task_stack(task: Any) -> list[tuple[Any, int]]:
    """Return the calls of a task, the innermost first."""
    return [(frame.f_code, line) for frame, line in task.iter_await_frames()][::-1]


# Threads and runs


def current_thread() -> int:
    """Return the identity of this thread."""
    ident: int = sys.modules["_thread"].get_ident()
    return ident


def thread_names() -> dict[int, str]:
    """Return the names of all threads that the module threading knows, without taking its lock."""
    active: dict[int, Any] = dict(getattr(sys.modules.get("threading"), "_active", {}))
    return {ident: str(thread.name) for ident, thread in active.items()}


def runner_of(frame: Any) -> Any:
    """Return the trio run of the thread with this frame; None if it runs none. This needs a private name of
    trio, since `trio.lowlevel` answers only in the thread of the run.
    """
    while frame is not None:
        is_loop = frame.f_code.co_name in ("run", "unrolled_run")  # while it waits, and while a task runs
        if is_loop and frame.f_globals.get("__name__") == "trio._core._run":
            return frame.f_locals.get("runner")
        frame = frame.f_back
    return None


def run_node(runner: Any, name: str, inside: list[Any], look: dict[str, Any]) -> dict[str, Any]:
    """Return the node of a trio run: its servers, its tasks, and trio's system tasks."""
    now = runner.clock.current_time()
    tasks = [task_node(runner.main_task, now, look, 0)] if runner.main_task is not None else []
    system = []
    if runner.system_nursery is not None:
        system = [one for one in runner.system_nursery.child_tasks if one is not runner.main_task]
    aside = node(
        "system tasks", counts=[["tasks", len(system)]], children=nursery_tasks(system, now, look, 0)
    )
    return node(
        "trio run",
        name="in " + name,
        counts=[["tasks", len(runner.tasks)]],
        children=[*inside, *tasks, aside],
    )


def task_node(task: Any, now: float, look: dict[str, Any], depth: int) -> dict[str, Any]:
    """Return the node of a task, with the tasks in its nurseries."""
    nurseries = [list(one.child_tasks) for one in task.child_nurseries]
    due, state = None, ""
    status = getattr(task, "_cancel_status", None)
    if status is not None:
        deadline = status.effective_deadline()
        state = "cancelled" if deadline == -float("inf") else ""
        due = deadline - now
    children, more = [], 0
    for tasks in nurseries:
        described = nursery_tasks(tasks, now, look, depth + 1)
        more += len(tasks) - len(described)
        children += described
    return node(
        "task",
        name=short_name(task.name),
        state=state,
        due=due,
        due_to="a cancel scope" if due is not None and due < 1e12 and not state else "",
        where=innermost(task_stack(task), look),
        more=more,
        children=children,
    )


def nursery_tasks(tasks: list[Any], now: float, look: dict[str, Any], depth: int) -> list[Any]:
    """Return the nodes of the first of these tasks, as long as there is time."""
    found: list[Any] = []
    for task in tasks[: look["limit"]]:
        if is_over(look) or depth > MAX_DEPTH:
            break
        found.append(task_node(task, now, look, depth))
    return found


def short_name(name: object) -> str:
    """Return the end of a qualified name: "shop.web.serve" of "…<locals>.…" too."""
    return str(name).rpartition("<locals>.")[2]


# Servers of triosock


def servers_here(look: dict[str, Any]) -> list[Any]:
    """Return the nodes of the scopes and servers of the run in this thread, as they describe themselves."""
    scopes = sys.modules.get("triosock._core.registry.drain_scope")
    description = sys.modules.get("triosock._core.registry.description")
    trio = sys.modules.get("trio")
    if scopes is None or description is None or trio is None:
        return []
    one_look = description.SnapshotOptions(trio.current_time(), min(look["limit"], 20))
    roots = sorted(scopes.outermost_scopes(), key=lambda scope: scope.owner is not None)
    return [as_dict(scopes.describe_scope(scope, one_look)) for scope in roots if not is_over(look)]


def as_dict(described: Any) -> dict[str, Any]:
    """Return a `Node` as a dict."""
    fields = {name: plain(getattr(described, name)) for name in FIELDS}
    fields["counts"] = [list(one) for one in described.counts]
    fields["children"] = [as_dict(one) for one in described.children]
    return fields


def compat_servers(look: dict[str, Any]) -> list[Any]:
    """Return the nodes of compat servers that plain threads serve, with a thread for each request."""
    poll = sys.modules.get("triosock.compat.waiting.poll")
    table = sys.modules.get("triosock.compat.requests.table")
    clock = sys.modules.get("triosock.compat.requests.clock")
    if poll is None or table is None or clock is None:
        return []
    tables = {one.request_table: None for one in tuple(poll._servings) if one.is_here()}
    return [compat_server(requests, clock.now(), table, look) for requests in tables]


def compat_server(requests: Any, now: float, table: Any, look: dict[str, Any]) -> dict[str, Any]:
    """Return the node of one compat server."""
    live = sorted(dict(requests.live).items(), key=lambda item: float(item[1][table.SINCE]))
    threads, frames = thread_names(), sys._current_frames()
    children = []
    for ident, record in live[: look["limit"]]:
        if is_over(look):
            break
        where = innermost(call_stack(frames.get(ident)), look)
        thread = node("thread", name=threads.get(ident, str(ident)), where=where)
        peer = str(record[table.ADDRESS])
        age = now - record[table.SINCE]
        children.append(node("connection", peer=peer, age=age, where=where, children=[thread]))
    frames.clear()  # this call's own is among them
    return node(
        "server",
        name=requests.name,
        state="serving" if requests.drain is None else "draining",
        counts=[["active", len(live)]],
        more=len(live) - len(children),
        children=children,
    )
