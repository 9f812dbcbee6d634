"""Sockets: everything the parent opens before any child runs, and keeps open until the sidecar ends.

Touches sockets, a pipe and one page of memory. It promises that a listening address that can't be had ends
the start with one line that names the setting; and that what is opened here outlives any child: queued
clients, packets on their way and counters survive a relay or a recorder that dies.
"""

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from infertap.settings import Address, Endpoint, UnixPath
from sidecar.config import Settings
from sidecar.counters import CounterPage

_BACKLOG: Final = 4096
# Room for packets on their way to the recorder; the kernel caps it at net.core.wmem_max.
_PAIR_BYTES: Final = 4 << 20


class StartError(Exception):
    """The sidecar can't start; the message is one line for the person who set it up."""


@dataclass(frozen=True, slots=True)
class HandoffPair:
    """One slot's pair: `relay_end` is written by the relay, `recorder_end` read by the recorder."""

    relay_end: socket.socket
    recorder_end: socket.socket


@dataclass(frozen=True, slots=True)
class Lifeline:
    """A pipe nobody writes to: its read end tells a child, by end of file, that the parent is gone."""

    read_end: int
    write_end: int


@dataclass(frozen=True, slots=True)
class OpenSockets:
    """What the parent holds for its children."""

    listening: tuple[socket.socket, ...]
    admin: socket.socket
    pairs: tuple[HandoffPair, ...]
    lifeline: Lifeline
    page: CounterPage


@contextlib.contextmanager
def open_sockets(settings: Settings) -> Iterator[OpenSockets]:
    """Open all of it, and close it at the end; raises StartError where an address can't be had."""
    with contextlib.ExitStack() as stack:
        listening_setting = "INFERTAP_ROUTES" if settings.routes else "INFERTAP_LISTEN"
        listening = tuple(
            _listen_on(stack, listening_setting, route.listen) for route in settings.all_routes()
        )
        admin = stack.enter_context(_listen("INFERTAP_ADMIN_LISTEN", settings.admin_listen))
        # The recorder binds this one; better to hear of a taken port now than from a restarting child.
        _listen("INFERTAP_API_LISTEN", settings.api_listen).close()
        pairs = tuple(_open_pair(stack) for _ in range(settings.workers))
        lifeline = Lifeline(*os.pipe())
        stack.callback(os.close, lifeline.read_end)
        stack.callback(os.close, lifeline.write_end)
        page = CounterPage.create(settings.workers)
        stack.callback(os.close, page.descriptor)
        yield OpenSockets(listening, admin, pairs, lifeline, page)


def address_of(listening: socket.socket) -> str:
    """Where `listening` is bound, as a setting would say it, with the port that port 0 became."""
    bound = listening.getsockname()
    return str(UnixPath(bound) if isinstance(bound, str) else Address(*bound[:2]))


def _listen_on(stack: contextlib.ExitStack, setting: str, endpoint: Endpoint) -> socket.socket:
    if isinstance(endpoint, Address):
        return stack.enter_context(_listen(setting, endpoint))
    listening = stack.enter_context(_listen_unix(setting, endpoint))
    stack.callback(_remove, endpoint.path, os.stat(endpoint.path).st_ino)
    return listening


def _listen_unix(setting: str, unix: UnixPath) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(unix.path)
        listening.bind(unix.path)
        # Whoever reaches its directory may call the model, as whoever reaches a port may.
        os.chmod(unix.path, 0o666)  # noqa: S103
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise StartError(f"{setting}: can't listen on {unix}: {error.strerror}") from None
    return listening


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more: bind(2) would refuse its name for ever."""
    if not os.path.exists(path) or not stat.S_ISSOCK(os.stat(path).st_mode):
        return  # bind says what is wrong with anything else
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


def _remove(path: str, inode: int) -> None:
    """Remove our own socket; by now a successor's may have its name."""
    with contextlib.suppress(FileNotFoundError):
        if os.stat(path).st_ino == inode:
            os.unlink(path)


def _listen(setting: str, address: Address) -> socket.socket:
    try:
        family, _, _, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise StartError(f"{setting}: {address}: {error.strerror}") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address.host != "::")
        listening.bind(where)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise StartError(f"{setting}: can't listen on {address}: {error.strerror}") from None
    return listening


def _open_pair(stack: contextlib.ExitStack) -> HandoffPair:
    relay_end, recorder_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stack.enter_context(relay_end)
    stack.enter_context(recorder_end)
    relay_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PAIR_BYTES)
    return HandoffPair(relay_end, recorder_end)
