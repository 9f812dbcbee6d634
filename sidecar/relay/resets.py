"""Resets: how a connection is broken off so that the peer sees RST and not an orderly end.

Touches sockets only. A reset or a refusal on one side must not look like a complete answer on the other, so
it is passed on as what it is: SO_LINGER with time 0 makes close send RST (socket(7), RFC 9293 section
3.9.1.6, ABORT).
"""

import asyncio
import contextlib
import fcntl
import select
import socket
import struct
import termios
from typing import Final

PATIENCE_SECONDS: Final = 30.0
# The kernel does not tell when its send queue is empty; it can only be asked (SIOCOUTQ, tcp(7)).
_POLL_SECONDS: Final = 0.01
_LINGER_0: Final = struct.pack("ii", 1, 0)
# What asking for the socket of a closed transport raises: it is None, or one of descriptor -1.
_CLOSED: Final = (OSError, RuntimeError, AttributeError, ValueError)


def reset_transport(transport: asyncio.Transport) -> None:
    """Drop what is unsent and answer RST."""
    with contextlib.suppress(*_CLOSED):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
    transport.abort()


def reset_when_delivered(transport: asyncio.Transport, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Reset once the peer has acknowledged all that was written, or after `patience_seconds`.

    An early answer followed by a reset is common (a body refused unread), and a reset on our side destroys
    what is still on its way. Call it where nothing more will be written, and nothing is read any more: a peer
    that is gone shows by asking only.
    """
    is_over = transport.is_closing() or is_broken_off(transport)
    if patience_seconds <= 0 or is_over or not _undelivered_bytes(transport):
        reset_transport(transport)
        return
    asyncio.get_running_loop().call_later(
        _POLL_SECONDS, reset_when_delivered, transport, patience_seconds - _POLL_SECONDS
    )


def _undelivered_bytes(transport: asyncio.Transport) -> int:
    waiting = transport.get_write_buffer_size()
    if waiting:
        return waiting
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0\0\0\0"))[0])
    except _CLOSED:
        return 0


def is_broken_off(transport: asyncio.Transport) -> bool:
    """Whether the peer of a transport that is not read just now has broken off: nothing else would tell.

    poll(2) with no events asked for answers POLLERR and POLLHUP only.
    """
    try:
        asked = select.poll()
        asked.register(transport.get_extra_info("socket").fileno(), 0)
        return bool(asked.poll(0))
    except _CLOSED:
        return False


def reset_socket(accepted: socket.socket) -> None:
    """The same for a socket that has no transport yet."""
    with contextlib.suppress(OSError):
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
    accepted.close()
