"""Simulation: a server, its clients and the network between them in one process, under a clock, a scheduler
and misfortunes that all come from one seed.

    async def scenario(world):
        server = await world.serve(handler)
        for _ in range(world.integer(1, 5)):
            world.client(client, world, server)

    simulate(scenario, seeds=1000, faults=Faults.all())

Read them in this order:

    choices         numbers, of which 0 is kind     trio_internals  the order of tasks, the one hack
    faults          how much goes wrong             schedule        which order
    link, pipe      one way of a connection         journal         what happened, and its hash
    stream          one end of it                   conductor       the instrument that strikes and looks
    listener        the queue before a server       guard           what is refused
    network         who is connected with whom      weather         what comes over them
    contact         who was owed an answer          oracles         what always holds
    life, served    the servers of the world        datagrams       what has no connection
    client          whose disappointments are judged    world       what a scenario is given
    run             one run                         simulate        many, and the first that fails
    shrink          the shortest that fails         report, picture what is said and shown of it
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
