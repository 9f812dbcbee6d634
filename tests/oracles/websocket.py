"""WebSocket messages as the `websockets` library reads them."""

import contextlib

from websockets.exceptions import ConnectionClosed, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Opcode
from websockets.protocol import OPEN, Protocol, Side

Message = tuple[int, bytes]


def messages_by_websockets(stream: bytes, from_client: bool, deflates: bool, forgets: bool) -> list[Message]:
    """Opcode and data of each message and control frame, up to where the library reads no further."""
    reader = Protocol(Side.SERVER if from_client else Side.CLIENT, state=OPEN, max_size=None)
    if deflates:
        reader.extensions = [PerMessageDeflate(forgets, False, 15, 15)]
    with contextlib.suppress(ConnectionClosed, ProtocolError):
        reader.receive_data(stream)
    found: list[Message] = []
    kind, parts = 0, b""
    for frame in reader.events_received():
        if frame.opcode in (Opcode.CLOSE, Opcode.PING, Opcode.PONG):
            found.append((frame.opcode, bytes(frame.data)))
            continue
        kind = frame.opcode or kind
        parts += bytes(frame.data)
        if frame.fin:
            found.append((kind, parts))
            kind, parts = 0, b""
    return found
