"""A server that may have few descriptors; test_descriptors.py runs it, and reads what it prints."""

import resource
import time

import triosock
from tests.handlers import shout
from triosock._core.model.events import AcceptFailed, ServerStarted

FEW = 32


class Teller:
    wants = (ServerStarted, AcceptFailed)

    def on_event(self, event):
        if isinstance(event, ServerStarted):
            print(f"port {event.addresses[0].port}")
        else:
            print(f"accept: {event.error.errno} {event.action} {time.process_time()} {time.monotonic()}")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, FEW))
    triosock.run(triosock.serve_tcp, shout, 0, host="127.0.0.1", observers=[Teller()])
