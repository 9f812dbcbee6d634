"""Ports for what must be told one before it listens; all else listens on port 0. Touches loopback only."""

import contextlib
import random
import socket


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to clients and to port 0: what runs
    beside this test isn't given it meanwhile (ip(7), ip_local_port_range).
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range") as range_of_clients:
        below = int(range_of_clients.read().split()[0])
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_server(("", random.randrange(9000, below))) as probe,
        ):
            return int(probe.getsockname()[1])
