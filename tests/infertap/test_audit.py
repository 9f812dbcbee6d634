"""What the client of the audit takes from a storage that it does not trust."""

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from infertap import v1
from infertap.audit import AuditClient, AuditError, entry_of
from infertap.connection import Connection

GOOD = {
    "index": 1,
    "kind": v1.LogEntry.RECORD,
    "spool_id": b"s" * 16,
    "first": 7,
    "last": 7,
    "hash": b"h" * 32,
}


class Lying(v1.AuditServiceServicer):
    """Answers what it was told to."""

    def __init__(self) -> None:
        self.entries: list[v1.LogEntry] = []

    def ExportLog(self, *_: Any) -> Iterator[v1.ExportLogResponse]:  # noqa: N802
        yield v1.ExportLogResponse(entries=self.entries)


@pytest.fixture
def lying() -> Iterator[tuple[Lying, AuditClient]]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = Lying()
    v1.add_AuditServiceServicer_to_server(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with AuditClient(Connection(address)) as client:
        yield servicer, client
    server.stop(0).wait(20)


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": 0},
        {"kind": 77},
        {"spool_id": b"s" * 17},
        {"hash": b"h" * 33},
        {"hash": b""},
        {"first": 8},
        {"last": 8},
        {"last": 1 << 63},
    ],
)
def test_entries_that_no_storage_sends(changed: dict[str, Any], lying: tuple[Lying, AuditClient]) -> None:
    """A leaf that no leaf can be: what is longer than its field must not be cut to one that holds."""
    message = v1.LogEntry(**(GOOD | changed))
    with pytest.raises(ValueError, match="not a leaf"):
        entry_of(message)
    servicer, client = lying
    servicer.entries = [message]
    with pytest.raises(AuditError, match="no storage would"):
        list(client.entries())


def test_a_storage_without_an_audit(lying: tuple[Lying, AuditClient]) -> None:
    """It is said what keeps one."""
    with pytest.raises(AuditError, match="keeps no audit"):
        lying[1].spools()


def test_an_entry_is_what_was_sent() -> None:
    """A good one is read."""
    entry = entry_of(v1.LogEntry(**GOOD))
    assert (entry.index, entry.leaf.first, entry.found) == (1, 7, None)
