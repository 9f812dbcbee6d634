"""What a tap is told of its connection. Plain data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """One connection; times are monotonic nanoseconds, -1 where unknown."""

    # Index into Settings.all_routes().
    route: int
    # "ip:port" of the peer.
    client_address: str
    accepted: int
    upstream_connected: int
