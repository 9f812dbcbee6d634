"""Forwarder: the connection's life. Being built; signatures are final."""

from dataclasses import dataclass

import grpc

from infertap.v1 import ingest_service_pb2
from sidecar.spool import Spool


@dataclass(frozen=True, slots=True)
class ForwarderStatus:
    """What the counters page shows of the way to storage."""

    connected: bool
    batches_sent: int
    # Connections that ended or failed.
    reconnects: int
    entries_acked: int
    rejected: int
    # Why the last connection ended, in our words; empty before any did.
    last_trouble: str


class Forwarder:
    """One spool's way to one storage."""

    def __init__(
        self,
        spool: Spool,
        target: str,
        hello: ingest_service_pb2.Hello,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        ack_timeout_seconds: float = 30.0,
        poll_seconds: float = 5.0,
    ) -> None:
        """`hello.spool_id` is filled in from the spool at each connection."""
        raise NotImplementedError

    async def run(self) -> None:
        """Connect, send, acknowledge; for ever, until cancelled or drained."""
        raise NotImplementedError

    async def drain(self, seconds: float) -> bool:
        """Send what is pending, for at most `seconds`, then end `run`. True if all was acknowledged."""
        raise NotImplementedError

    def wake(self) -> None:
        """Records were appended. From any thread; never blocks."""
        raise NotImplementedError

    @property
    def status(self) -> ForwarderStatus:
        """A snapshot. From any thread."""
        raise NotImplementedError
