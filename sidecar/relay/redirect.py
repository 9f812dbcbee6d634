"""Redirect: where a client wanted to go before iptables or nftables sent it here, and dialling that in steps.

Touches the accepted socket, and one towards the model. The kernel keeps the address in connection tracking,
and tells it as a sockaddr (SO_ORIGINAL_DST of linux/netfilter_ipv4.h, IP6T_SO_ORIGINAL_DST of
linux/netfilter_ipv6/ip6_tables.h, both 80):

    sockaddr_in       family u16 | port u16be | address 4 | zero 8
    sockaddr_in6      family u16 | port u16be | flow info u32be | address 16 | scope u32
"""

import asyncio
import errno
import os
import socket
import struct
from typing import Final

from infertap.settings import Address

_SO_ORIGINAL_DST: Final = 80
_SOL_IPV6: Final = 41
_SOCKADDR_IN: Final = struct.Struct("=H2s4s8x")
_SOCKADDR_IN6: Final = struct.Struct("=H2s4x16s4x")
_MAPPED: Final = "::ffff:"


class NotRedirectedError(ConnectionError):
    """The client was not redirected but came to the sidecar's own address: nobody knows whom it wants."""


def original_destination(accepted: socket.socket) -> Address:
    """Where the client of `accepted` wanted to go; raises NotRedirectedError, OSError."""
    own = accepted.getsockname()[:2]
    if accepted.family == socket.AF_INET6 and not own[0].startswith(_MAPPED):
        wanted = read_sockaddr(_asked(accepted, _SOL_IPV6, _SOCKADDR_IN6.size))
    else:
        own = (own[0].removeprefix(_MAPPED), own[1])
        wanted = read_sockaddr(_asked(accepted, socket.SOL_IP, _SOCKADDR_IN.size))
    if (wanted.host, wanted.port) == own:
        raise NotRedirectedError("came to the sidecar's own address")
    return wanted


def begin_to_connect(model: Address) -> socket.socket:
    """A socket that is on its way to `model`, whose own end is known; raises OSError."""
    family = socket.AF_INET6 if ":" in model.host else socket.AF_INET
    connecting = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    status = connecting.connect_ex((model.host, model.port))
    if status not in (0, errno.EINPROGRESS):
        connecting.close()
        raise OSError(status, os.strerror(status))
    return connecting


async def is_connected(connecting: socket.socket) -> None:
    """Return once it is; raises OSError where it can't be."""
    loop = asyncio.get_running_loop()
    is_writable = asyncio.Event()
    loop.add_writer(connecting, is_writable.set)
    try:
        await is_writable.wait()
    finally:
        loop.remove_writer(connecting)
    status = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if status:
        raise OSError(status, os.strerror(status))


def _asked(accepted: socket.socket, level: int, size: int) -> bytes:
    try:
        return accepted.getsockopt(level, _SO_ORIGINAL_DST, size)
    except OSError as error:  # ENOENT: not tracked; ENOPROTOOPT: no connection tracking here
        raise NotRedirectedError(f"no original destination: {error.strerror}") from None


def read_sockaddr(raw: bytes) -> Address:
    """The address in a sockaddr of either family; raises NotRedirectedError where it is of neither."""
    if len(raw) == _SOCKADDR_IN.size:
        family, port, host = _SOCKADDR_IN.unpack(raw)
        if family == socket.AF_INET:
            return Address(socket.inet_ntop(socket.AF_INET, host), int.from_bytes(port, "big"))
    elif len(raw) == _SOCKADDR_IN6.size:
        family, port, host = _SOCKADDR_IN6.unpack(raw)
        if family == socket.AF_INET6:
            return Address(socket.inet_ntop(socket.AF_INET6, host), int.from_bytes(port, "big"))
    raise NotRedirectedError("no original destination: not an internet address")
