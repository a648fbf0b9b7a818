"""A chat by WebSocket, on wsproto, which implements WebSocket without sockets.

Every member gets every message through a `Broadcast`: a member who does not read delays no other, and is cut
when 100 messages wait for it. A drain closes each with the code 1001, "going away" (RFC 6455, section
7.4.1), after all earlier messages, so that clients reconnect to another server.

    python examples/web/chat.py
    python -m websockets ws://localhost:9999/       in two windows (pip install websockets)
"""

import logging
import sys

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Ping,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError

import triosock

#: The maximum of characters in a message, and the seconds that a client has to answer a close.
MAX_MESSAGE = 4096
PATIENCE = 5

room = triosock.Broadcast(buffer=100, when_full="cut")


class WebSocket:
    """The server side of one WebSocket."""

    def __init__(self, conn):
        self._conn = conn
        self._ws = WSConnection(ConnectionType.SERVER)
        self._sending = trio.Lock()
        self._text = ""

    @property
    def is_open(self):
        return self._ws.state is ConnectionState.OPEN

    async def send(self, event):
        async with self._sending:  # a member has two tasks
            await self._conn.send_all(self._ws.send(event))

    async def accept(self):
        """Do the opening handshake; return False if the client has hung up or the server drains."""
        while await self._conn.wait_request():
            for event in await self._receive():
                if isinstance(event, Request):
                    await self.send(AcceptConnection())
                    return True
        return False

    async def messages(self):
        """Return a list of the next messages; None when the peer has closed or hung up, or in a drain."""
        if not self.is_open or not await self._conn.wait_request():
            return None
        return [text for event in await self._receive() if (text := await self._message(event)) is not None]

    async def _receive(self):
        self._ws.receive_data(bytes(await self._conn.receive_some()) or None)
        return list(self._ws.events())

    async def _message(self, event):
        if isinstance(event, TextMessage):
            self._text += event.data
            if len(self._text) > MAX_MESSAGE:
                await self.close(CloseReason.MESSAGE_TOO_BIG)
            elif event.message_finished:
                text, self._text = self._text, ""
                return text
        elif isinstance(event, (Ping, CloseConnection)) and self._ws.state is not ConnectionState.CLOSED:
            await self.send(event.response())
        return None

    async def close(self, code):
        """Send a close frame with a code, and wait for the answer for at most `PATIENCE` seconds."""
        if self.is_open:
            await self.send(CloseConnection(code=code))
            with trio.move_on_after(PATIENCE):
                while self._ws.state is not ConnectionState.CLOSED:
                    await self._receive()


async def deliver(websocket, inbox):
    async for text in inbox:
        if websocket.is_open:
            await websocket.send(TextMessage(text))


async def visit(conn):
    websocket = WebSocket(conn)
    try:
        if not await websocket.accept():
            return
    except RemoteProtocolError as error:  # not a WebSocket client
        if error.event_hint is not None:
            await websocket.send(error.event_hint)
        return
    with room.join() as inbox:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deliver, websocket, inbox)
            room.send_nowait(f"* {conn.id} is here, {len(room)} in all")
            try:
                while (texts := await websocket.messages()) is not None:
                    for text in texts:
                        room.send_nowait(f"{conn.id}: {text}")
            finally:
                inbox.leave()  # ends `deliver` after it has sent the rest
                room.send_nowait(f"* {conn.id} has left")
    await websocket.close(CloseReason.GOING_AWAY)  # unless the client has closed it


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1]) if sys.argv[1:] else 9999
    triosock.run(triosock.serve_tcp, visit, port, host="localhost", name="chat")
