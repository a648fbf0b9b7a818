"""Simulation: a server, its clients and the network between them in one process; clock, scheduling and
faults all come from one seed.

    async def scenario(world):
        server = await world.serve(handler)
        for _ in range(world.integer(1, 5)):
            world.client(client, world, server)

    simulate(scenario, seeds=1000, faults=Faults.all())

Read them in this order:

    choices         drawn numbers; 0 is no fault    trio_internals  the order of tasks, by trio's private API
    faults          the amount of each fault        schedule        the kinds of order
    link, pipe      one direction of a connection   journal         all steps of a run, and their hash
    stream          one end of it                   instrument      injects faults and checks at each step
    listener        the accept queue of a server    guard           refuses real threads, sockets, sleeps
    network         hosts, links and connections    fault_injector  faults of servers, links and the loop
    connection      whether an error is excused     oracles         invariants that are checked
    server_base, served  the servers of the world   datagrams       the network of datagrams
    client          a client and its network error  world           the API of a scenario
    run             one run                         simulate        many runs, and the first that fails
    shrink          the shortest failing schedule   report, picture the text and the pictures of a failure
    marker          the same as a mark of pytest    machine         the same as a state machine of Hypothesis

The invariant: **the same seed is the same run**, step by step, in every process of the same versions.
"""

from .choices import Choices as Choices
from .choices import drawn as drawn
from .client import Client as Client
from .datagrams import DatagramClient as DatagramClient
from .errors import NotDeterministic as NotDeterministic
from .errors import NotSimulated as NotSimulated
from .errors import SimulationFailed as SimulationFailed
from .faults import Faults as Faults
from .link import Link as Link
from .served import SimulatedDatagramServer as SimulatedDatagramServer
from .served import SimulatedServer as SimulatedServer
from .simulate import Simulation as Simulation
from .simulate import simulate as simulate
from .world import World as World

__all__ = [
    "Choices",
    "Client",
    "DatagramClient",
    "Faults",
    "Link",
    "NotDeterministic",
    "NotSimulated",
    "SimulatedDatagramServer",
    "SimulatedServer",
    "Simulation",
    "SimulationFailed",
    "World",
    "drawn",
    "simulate",
]
