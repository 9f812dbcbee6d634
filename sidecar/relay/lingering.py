"""Lingering: how a client is left that may still be sending, so that it gets the answer it was sent.

Touches transports only. Closing a socket that has unread bytes sends RST, and RST makes the peer drop what it
has not read yet: the answer among it (RFC 9112, section 9.6). So only our direction is closed; what the
client sends is read, and dropped by the protocol, until it ends too or LINGER_SECONDS have passed.
"""

import asyncio
from typing import Final

from sidecar.relay.flow_control import release

LINGER_SECONDS: Final = 3.0


def linger(transport: asyncio.Transport) -> None:
    """Send what is written, end our direction (over TLS there is none to end alone), and close in a while."""
    if transport.can_write_eof() and not transport.is_closing():
        transport.write_eof()
    release(transport)
    loop = asyncio.get_running_loop()
    loop.call_later(LINGER_SECONDS, transport.close)
    # A client that reads nothing either.
    loop.call_later(2 * LINGER_SECONDS, transport.abort)
