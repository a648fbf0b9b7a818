"""What happened: the classes of events that observers are given.

Their home is `_core/events.py`; this is their public name.

    from triosock import events

    class Failures:
        wants = (events.HandlerFailed,)

        def on_event(self, event):
            ...
"""

from ._core.events import AcceptFailed as AcceptFailed
from ._core.events import Cause as Cause
from ._core.events import ConnectionClosed as ConnectionClosed
from ._core.events import ConnectionEvent as ConnectionEvent
from ._core.events import ConnectionOpened as ConnectionOpened
from ._core.events import DatagramDropped as DatagramDropped
from ._core.events import DatagramsLost as DatagramsLost
from ._core.events import DatagramTruncated as DatagramTruncated
from ._core.events import DrainFinished as DrainFinished
from ._core.events import DrainStarted as DrainStarted
from ._core.events import Event as Event
from ._core.events import HandlerFailed as HandlerFailed
from ._core.events import HandshakeFinished as HandshakeFinished
from ._core.events import HandshakeRefused as HandshakeRefused
from ._core.events import LimitReached as LimitReached
from ._core.events import ListenerClosed as ListenerClosed
from ._core.events import Observer as Observer
from ._core.events import ObserverDone as ObserverDone
from ._core.events import ObserverFailed as ObserverFailed
from ._core.events import Refused as Refused
from ._core.events import RequestFinished as RequestFinished
from ._core.events import RequestStarted as RequestStarted
from ._core.events import ServerClosed as ServerClosed
from ._core.events import ServerResumed as ServerResumed
from ._core.events import ServerStarted as ServerStarted
from ._core.events import ServerSuspended as ServerSuspended

__all__ = [
    "AcceptFailed",
    "Cause",
    "ConnectionClosed",
    "ConnectionEvent",
    "ConnectionOpened",
    "DatagramDropped",
    "DatagramTruncated",
    "DatagramsLost",
    "DrainFinished",
    "DrainStarted",
    "Event",
    "HandlerFailed",
    "HandshakeFinished",
    "HandshakeRefused",
    "LimitReached",
    "ListenerClosed",
    "Observer",
    "ObserverDone",
    "ObserverFailed",
    "Refused",
    "RequestFinished",
    "RequestStarted",
    "ServerClosed",
    "ServerResumed",
    "ServerStarted",
    "ServerSuspended",
]
