"""What you test your handlers with: nothing here needs a socket, a real clock or a sleep.

stream_end       what the ends of all connections in memory have in common
memory_stream    two ends of a connection in this process: bounded, half-closeable, and unkind
memory_listener  a listener of such connections, and the clients' way in
flaky            a listener that fails as scripted
datagrams        a network of datagrams in this process, as unreliable as you ask for
recorder         an observer that keeps all events, and lets a test wait for one
open_server      a server for the length of a test, with clients, and a look at what is left
leaks            descriptors, tasks, threads and streams: what must not be left behind
checkpoints      a scenario, cancelled at each of its checkpoints in turn
simulation       a server, its clients and their network, all from one seed: the run in a thousand that fails
plugin           fixtures for pytest-trio
"""

# With the facade come the observers that are there by default.
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
