"""Reaching: where both clients ask, and how they are let in. Touches the environment and files it names."""

import os
from typing import Any, Final

from infertap.client.errors import translating
from infertap.connection import Connection

ADDRESS_SETTING: Final = "INFERTAP_ADDRESS"
DEFAULT_ADDRESS: Final = "127.0.0.1:9903"
DEADLINE_SECONDS: Final = 30.0
ATTEMPTS: Final = 4
# How long one stream of an export may last; the next goes on behind it. So none hangs for ever.
EXPORT_SECONDS: Final = 300.0
OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.max_receive_message_length", 64 << 20),
    # A server that is back is found at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 5000),
)


def connection_of(address: str | None, **access: str | None) -> tuple[str, Connection]:
    """The address, `address` or else the environment's, and how to reach it; raises ClientError."""
    chosen = address or os.environ.get(ADDRESS_SETTING) or DEFAULT_ADDRESS
    with translating(chosen):
        return chosen, Connection.of(chosen, os.environ, **access)
