"""Door: how listening sockets end without losing a client that had come in time.

Touches the listening sockets. A TCP listener that is closed resets whoever is in its queue. So newcomers are
kept out first, then the relays accept all that are in, and only then it is shut:

    keep_out    drops connection requests (SYN) by a socket filter; handshakes under way still finish. The
                client's kernel sends SYN again after a second: to whoever listens there then, or it is
                refused
    shut        ends listening for every process that holds the socket; accept(2) fails with EINVAL

The filter is classic BPF, three questions to the TCP header (RFC 9293, section 3.1: flags in byte 13):

    ldb [13]; jset #SYN, drop, keep; keep: ret #-1; drop: ret #0

Some kernels allow a filter on a TCP socket to the privileged only. Where it is not allowed, clients that come
in the moment between the last accept and shut are reset, as with any server that ends.
"""

import contextlib
import ctypes
import os
import socket
import struct
from typing import Final

_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
_SYN: Final = 0x02
_LDB_ABSOLUTE: Final = 0x30
_JSET: Final = 0x45
_RET: Final = 0x06
# code u16, jump if true u8, jump if false u8, operand u32 (struct sock_filter)
_PROGRAM: Final = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (_LDB_ABSOLUTE, 0, 0, 13),
        (_JSET, 1, 0, _SYN),
        (_RET, 0, 0, 0xFFFFFFFF),
        (_RET, 0, 0, 0),
    )
)


def keep_out(listening: socket.socket) -> None:
    """No new client gets into the queue of `listening`; those who are in stay there."""
    if listening.family == socket.AF_UNIX:
        with contextlib.suppress(OSError):
            os.unlink(listening.getsockname())
        return
    program = ctypes.create_string_buffer(_PROGRAM, len(_PROGRAM))
    # struct sock_fprog: length u16, pointer
    attached = struct.pack("@HP", len(_PROGRAM) // 8, ctypes.addressof(program))
    with contextlib.suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, attached)


def shut(listening: socket.socket) -> None:
    """Nobody accepts from `listening` any more, in this process or another; its address is free."""
    with contextlib.suppress(OSError):
        listening.shutdown(socket.SHUT_RDWR)
