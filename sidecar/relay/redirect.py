"""Redirect: where a client wanted to go before iptables or nftables sent it here.

Touches the accepted socket only. The kernel keeps it in connection tracking, and tells it as a sockaddr
(SO_ORIGINAL_DST of linux/netfilter_ipv4.h, IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h, both
80):

    sockaddr_in       family u16 | port u16be | address 4 | zero 8
    sockaddr_in6      family u16 | port u16be | flow info u32be | address 16 | scope u32
"""

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
