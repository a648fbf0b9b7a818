"""Tools for testing handlers, without sockets, a real clock or sleeps.

stream_end       the base class of both kinds of in-memory stream
memory_stream    two ends of an in-memory connection: bounded, half-closeable, with resets
memory_listener  a listener of such connections, to which clients connect
flaky            a listener that raises given errors
datagrams        an in-memory network of datagrams, with loss, duplication and reordering
recorder         an observer that keeps all events, and lets a test wait for one
open_server      a server for the length of a block, with clients, and a check that nothing is left
leaks            a check for descriptors, tasks, threads and streams that are left
checkpoints      a scenario that is cancelled at each of its checkpoints in turn
simulation       a server, its clients and their network, with all orders and faults from one seed
plugin           fixtures for pytest-trio
"""

# The facade registers the default observers.
from triosock import __version__ as _version  # noqa: F401

from .checkpoints import cancel_at_every_checkpoint as cancel_at_every_checkpoint
from .datagrams import DatagramNetwork as DatagramNetwork
from .datagrams import MemoryDatagramSocket as MemoryDatagramSocket
from .flaky import FlakyListener as FlakyListener
from .leaks import no_leaks as no_leaks
from .memory_listener import MemoryListener as MemoryListener
from .memory_stream import MemoryStream as MemoryStream
from .memory_stream import memory_stream_pair as memory_stream_pair
from .open_server import OpenServer as OpenServer
from .open_server import check_nothing_left as check_nothing_left
from .open_server import open_server as open_server
from .open_server import watch as watch
from .recorder import Recorder as Recorder
from .simulation.faults import Faults as Faults
from .simulation.simulate import simulate as simulate
from .simulation.world import World as World

__all__ = [
    "DatagramNetwork",
    "Faults",
    "FlakyListener",
    "MemoryDatagramSocket",
    "MemoryListener",
    "MemoryStream",
    "OpenServer",
    "Recorder",
    "World",
    "cancel_at_every_checkpoint",
    "check_nothing_left",
    "memory_stream_pair",
    "no_leaks",
    "open_server",
    "simulate",
    "watch",
]
