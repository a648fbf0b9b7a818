"""A compat server that inherits its listener from the parent."""

import triosock
import triosock.compat as socketserver


class Shout(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class Inherited(socketserver.ThreadingTCPServer):
    """Its address is the parent's business."""

    def __init__(self, handler):
        (listener,) = triosock.inherited_listeners()
        super().__init__(listener.socket.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener.socket


async def worker(*, task_status):
    with Inherited(Shout) as server:
        await socketserver.serve(server, task_status=task_status)
