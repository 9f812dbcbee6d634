"""Waiting: since when a client's first bytes lie in its socket, while the model was being dialled.

Touches a socket that nothing has read from. The bytes themselves stay in the kernel until the model is
reached, so that clients of a model that can't be reached cost no memory here; but their calls began when they
came.
"""

import fcntl
import socket
import struct
import termios
from typing import Final

# tcp_info of linux/tcp.h: 8 bytes, then u32 fields; the 12th is tcpi_last_data_recv, in milliseconds.
_LAST_DATA_RECV: Final = struct.Struct("=8x44xI")


def waiting_since(accepted: socket.socket, now: int) -> int:
    """When what waits in `accepted` came (its latest part), in nanoseconds like `now` and to a few
    milliseconds; -1 where nothing waits, or where it can't be told.
    """
    try:
        waiting = struct.unpack("i", fcntl.ioctl(accepted, termios.FIONREAD, b"\0\0\0\0"))[0]
        if not waiting or accepted.family == socket.AF_UNIX:
            return -1
        info = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECV.size)
        return now - int(_LAST_DATA_RECV.unpack(info)[0]) * 1_000_000
    except (OSError, ValueError, struct.error):
        return -1
