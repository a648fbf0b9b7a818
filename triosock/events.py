"""The classes of events, which observers get.

They are defined in `_core/model/events.py`; this module is their public name.

    from triosock import events

    class Failures:
        wants = (events.HandlerFailed,)

        def on_event(self, event):
            ...
"""

from ._core.model.emitter import ObserverDone as ObserverDone
from ._core.model.events import AcceptFailed as AcceptFailed
from ._core.model.events import Cause as Cause
from ._core.model.events import CertificatesRefused as CertificatesRefused
from ._core.model.events import CertificatesReloaded as CertificatesReloaded
from ._core.model.events import ConnectionClosed as ConnectionClosed
from ._core.model.events import ConnectionEvent as ConnectionEvent
from ._core.model.events import ConnectionOpened as ConnectionOpened
from ._core.model.events import DatagramDropped as DatagramDropped
from ._core.model.events import DatagramsLost as DatagramsLost
from ._core.model.events import DatagramTruncated as DatagramTruncated
from ._core.model.events import DrainAnnounced as DrainAnnounced
from ._core.model.events import DrainFinished as DrainFinished
from ._core.model.events import DrainStarted as DrainStarted
from ._core.model.events import Event as Event
from ._core.model.events import HandlerFailed as HandlerFailed
from ._core.model.events import HandlerStarted as HandlerStarted
from ._core.model.events import HandshakeFinished as HandshakeFinished
from ._core.model.events import HandshakeRefused as HandshakeRefused
from ._core.model.events import LimitReached as LimitReached
from ._core.model.events import ListenerClosed as ListenerClosed
from ._core.model.events import Observer as Observer
from ._core.model.events import ObserverFailed as ObserverFailed
from ._core.model.events import RateReached as RateReached
from ._core.model.events import Refused as Refused
from ._core.model.events import RequestFinished as RequestFinished
from ._core.model.events import RequestStarted as RequestStarted
from ._core.model.events import ServerClosed as ServerClosed
from ._core.model.events import ServerResumed as ServerResumed
from ._core.model.events import ServerStarted as ServerStarted
from ._core.model.events import ServerSuspended as ServerSuspended
from ._core.model.events import SheddingEnded as SheddingEnded
from ._core.model.events import SheddingStarted as SheddingStarted

__all__ = [
    "AcceptFailed",
    "Cause",
    "CertificatesRefused",
    "CertificatesReloaded",
    "ConnectionClosed",
    "ConnectionEvent",
    "ConnectionOpened",
    "DatagramDropped",
    "DatagramTruncated",
    "DatagramsLost",
    "DrainAnnounced",
    "DrainFinished",
    "DrainStarted",
    "Event",
    "HandlerFailed",
    "HandlerStarted",
    "HandshakeFinished",
    "HandshakeRefused",
    "LimitReached",
    "ListenerClosed",
    "Observer",
    "ObserverDone",
    "ObserverFailed",
    "RateReached",
    "Refused",
    "RequestFinished",
    "RequestStarted",
    "ServerClosed",
    "ServerResumed",
    "ServerStarted",
    "ServerSuspended",
    "SheddingEnded",
    "SheddingStarted",
]
