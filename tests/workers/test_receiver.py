"""The receiver of the messages of workers, by itself."""

from __future__ import annotations

import os
import socket

import pytest

from triosock.workers import receiver


def test_all_messages_that_have_arrived_are_read_before_a_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "_IN_A_ROW", 2)
    received = []
    with receiver.NotifyReceiver() as inbox, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        inbox.register(os.getpid(), lambda fields: received.append(fields["X_NUMBER"]))
        sender.connect("\0" + inbox.path[1:])
        for number in range(6):
            sender.send(b"X_NUMBER=%d" % number)
        inbox.read_pending()
    assert received == ["0", "1", "2", "3", "4", "5"]
