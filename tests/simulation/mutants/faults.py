"""The faults: a name, and what is replaced by what. Where it stands is found by the text, which must be in the
package once.

`MUTANTS` are the twenty with which scenarios and oracles were improved until they found them. `LATER` are ten
that were written after that: how many of these are found says more about faults that nobody has thought of.
"""

# ruff: noqa: E501 - the lines are the library's

from __future__ import annotations

import attrs


@attrs.frozen
class Mutant:
    """A fault. `old` is replaced by `new`."""

    name: str
    old: str
    new: str


MUTANTS = [
    Mutant(
        "a drain forgets who has connected a moment before",
        "    return until if until > now else 0.0\n",
        "    return 0.0\n",
    ),
    Mutant(
        "a drain resets those in the queue",
        "            await loop.drain_backlog()\n            self._close(listener)\n",
        "            self._close(listener)\n",
    ),
    Mutant(
        "a slot leaks when a task is cancelled between accept and start",
        "        connection.wire.just_begun = True\n        try:\n            with entry.scope:\n",
        "        connection.wire.just_begun = True\n        await trio.lowlevel.checkpoint()\n"
        "        try:\n            with entry.scope:\n",
    ),
    Mutant(
        "a wake-up is lost between the look for a slot and the wait for one",
        "            if self._room is None:\n                self._room = trio.Event()\n"
        "            await self._room.wait()\n",
        "            await trio.lowlevel.checkpoint()\n            if self._room is None:\n"
        "                self._room = trio.Event()\n            await self._room.wait()\n",
    ),
    Mutant(
        "a timeout cuts although data waits, after a stall",
        "    if progress and cause in (Cause.IDLE, Cause.SEND):\n        return shortest\n"
        "    return min(late, shortest) if progress else 0.0\n",
        "    return 0.0\n",
    ),
    Mutant(
        "a delimiter that is cut at the buffer's edge is not found",
        "        self.scanned = max(0, len(data) - len(delimiter) + 1)\n        if len(data) >= max_bytes:\n",
        "        self.scanned = len(data)\n        if len(data) >= max_bytes:\n",
    ),
    Mutant(
        "a frame is taken before all of it is there",
        "        if len(buffer) < self.width + size:\n            return None\n",
        "        if len(buffer) <= self.width:\n            return None\n",
    ),
    Mutant(
        "a cancelled receive loses what it has read",
        "        self.buffer.feed(data)\n        self.note_first_bytes()\n",
        "        await trio.lowlevel.checkpoint()\n        self.buffer.feed(data)\n        self.note_first_bytes()\n",
    ),
    Mutant(
        "the idle timeout counts from the accept",
        "        entry.idle_since = trio.current_time()\n        try:\n            with trio.CancelScope() as self._idle_scope:\n",
        "        entry.idle_since = entry.accepted\n        try:\n            with trio.CancelScope() as self._idle_scope:\n",
    ),
    Mutant(
        "the time for a request outlives it",
        "            )\n        entry.request_since = entry.request_due = NEVER\n",
        "            )\n        entry.request_since = NEVER\n",
    ),
    Mutant(
        "a drain ends the wait of one whose request has arrived",
        "        self._interrupted = True\n        if self._idle_scope is not None and not self.has_input():\n",
        "        self._interrupted = True\n        if self._idle_scope is not None:\n",
    ),
    Mutant(
        "unread input destroys the last reply",
        "        if wire.input_ended or wire.is_closed or self._served.timeouts.close <= 0:\n            return\n",
        "        return\n",
    ),
    Mutant(
        "an error of the peer's at accept ends the server",
        "        if error.errno in THE_PEERS:\n            return ErrorAction.GO_ON\n",
        "        if error.errno in THE_PEERS:\n            return ErrorAction.END\n",
    ),
    Mutant(
        "who waits while the server is suspended is not woken",
        "        self.is_open = True\n        self._opened.set()\n",
        "        self.is_open = True\n",
    ),
    Mutant(
        "one more than the limit is let in",
        "        self._slots += 1\n        self.has_room = self._slots < self.most\n",
        "        self._slots += 1\n        self.has_room = self._slots <= self.most\n",
    ),
    Mutant(
        "what waits for a session that ends is forgotten",
        "        if not left:\n            return\n        route = session.wire.renewed(",
        "        return\n        route = session.wire.renewed(",
    ),
    Mutant(
        "a second drain prolongs the first",
        "            self._grace = min(self._grace, later + grace)\n",
        "            self._grace = later + grace\n",
    ),
    Mutant(
        "the send timeout counts all of a long send",
        "                entry.send_since = trio.current_time()\n                await self._stream.send_all(piece)\n",
        "                entry.send_since = min(entry.send_since, trio.current_time())\n"
        "                await self._stream.send_all(piece)\n",
    ),
    Mutant(
        "a connection stays open when its task is cancelled",
        "        finally:\n            await self._close_and_unregister()\n",
        "        finally:\n            await trio.lowlevel.checkpoint()\n            await self._close_and_unregister()\n",
    ),
    Mutant(
        "a PROXY header that is cut in its first bytes is refused",
        "    if not any(head.startswith(known) or known.startswith(head) for known in _INTRODUCTIONS):\n",
        "    if head and not any(head.startswith(known) for known in _INTRODUCTIONS):\n",
    ),
]

LATER = [
    Mutant(
        "a slot that becomes free wakes nobody",
        "            if self._queue or self._room is not None:\n                self._hand_on()\n",
        "            if self._queue:\n                self._hand_on()\n",
    ),
    Mutant(
        "one that gives up its turn for a slot keeps it",
        "        except BaseException:\n            if turn in self._queue:\n"
        "                self._queue.remove(turn)\n            raise\n",
        "        except BaseException:\n            raise\n",
    ),
    Mutant(
        "a server that is suspended accepts one more",
        "            if not gate.is_open or (self._must_wait and not registry.has_room):\n",
        "            if self._must_wait and not registry.has_room:\n",
    ),
    Mutant(
        "who has left counts against its peer for ever",
        "            self._per_key[key] -= 1\n            if not self._per_key[key]:\n",
        "            if not self._per_key[key]:\n",
    ),
    Mutant(
        "a drain waits for the first five seconds of the idle",
        "    if entry.wire.received > entry.header_bytes:\n        return 0.0\n    until =",
        "    until =",
    ),
    Mutant(
        "the last datagram that waits is forgotten",
        "        while self._waiting and registry.has_room:\n",
        "        while len(self._waiting) > 1 and registry.has_room:\n",
    ),
    Mutant(
        "a netstring whose comma has not come breaks the connection",
        "        if len(buffer) < begin + size + 1:\n",
        "        if len(buffer) < begin + size:\n",
    ),
    Mutant(
        "a drain has no end",
        "        self._grace.deadline = min(self._grace.deadline, self._scope.deadline)\n",
        "        self._grace.deadline = self._grace.deadline\n",
    ),
    Mutant(
        "half an answer of a handler that failed looks like a whole one",
        "        reset = self._failed or wire.is_broken_off or (self._cut and self._is_mid_request())\n",
        "        reset = wire.is_broken_off or (self._cut and self._is_mid_request())\n",
    ),
    Mutant(
        "one that is sent to all the time is idle",
        "+= len(piece)\n                if self._receiving:\n                    self._renew_wait()\n",
        "+= len(piece)\n",
    ),
]
