"""Recording: joins the relay to the tap and the hand-off, which know nothing of each other."""

import socket
from dataclasses import dataclass

from sidecar.config import Settings
from sidecar.counters import Row
from sidecar.handoff import Outbox
from sidecar.relay.connection import ConnectionFacts, FollowingTap, OpenTap
from sidecar.exchange import EndedBy


class Nothing:
    client_held = b""
    model_held = b""

    def from_client(self, data: bytes, now: int) -> bytes:
        return data

    def from_model(self, data: bytes, now: int) -> bytes:
        return data

    def client_ended(self, now: int) -> bytes:
        return b""

    def model_ended(self, now: int) -> bytes:
        return b""

    def lost(self, by: EndedBy, now: int) -> None: ...


class Budget:
    def give_back(self, size: int, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Recording:
    """What `open_recording` gives."""

    open_tap: OpenTap
    outbox: Outbox


def open_recording(settings: Settings, handoff_fd: int, row: Row) -> Recording:
    """A tap for each connection whose calls go to the outbox."""
    pair = socket.socket(fileno=handoff_fd)
    pair.setblocking(False)
    return Recording(
        lambda facts: Nothing(),
        Outbox(pair, Budget(), row["handed_over"], settings.capture_budget_bytes // 2),
    )
