"""Listening: how storage's gRPC port treats connections and what comes on them. Touches the descriptor limit.

What comes before anybody is known costs memory and descriptors: so it is bounded here, by gRPC itself.
"""

import resource
from contextlib import suppress
from typing import Any, Final

# On one connection; each of our clients has its own (RFC 9113, section 6.5.2, wants no fewer).
_MOST_STREAMS: Final = 100
# Beside those of sidecars: of people, of monitoring, and those that are just coming or going.
_OTHER_CONNECTIONS: Final = 2000
# Beside those of connections: the archive's files, and what its engine opens.
_OTHER_DESCRIPTORS: Final = 2000
_OPTIONS: Final = (
    # A batch is a MiB, or one record of up to three.
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_send_message_length", 32 << 20),
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", _MOST_STREAMS),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    # What is taken in of a stream before it is asked for; the probe would make that megabytes of each.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 128 << 10),
    # Of one call; a client that sends more has that call refused.
    ("grpc.max_metadata_size", 8 << 10),
    ("grpc.absolute_max_metadata_size", 16 << 10),
    # Whoever connects and then says nothing holds a descriptor.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 300_000),
)


def listening_options(streams: int) -> tuple[tuple[str, Any], ...]:
    """The server's options, where so many sidecars may be connected."""
    return (*_OPTIONS, ("grpc.max_allowed_incoming_connections", streams + _OTHER_CONNECTIONS))


def raise_descriptors(streams: int) -> int:
    """Let this process have as many descriptors as that takes; returns how many it lacks."""
    wanted = streams + _OTHER_CONNECTIONS + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):  # a sandbox may allow it no process
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    return max(wanted - soft, 0) if soft != resource.RLIM_INFINITY else 0
