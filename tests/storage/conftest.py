"""Records in their envelopes, as a spool would send them."""

import functools
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from infertap import v1
from storage.archive import GapEntry, RecordEntry

SPOOL = b"s" * 16
OTHER = b"t" * 16
SECOND = 1_000_000_000
DAY = 86_400 * SECOND
# 2026-01-01T00:00:00Z
NOW = 1_767_225_600 * SECOND


class Making:
    """Makes entries; a sequence tells everything about its record unless a test says otherwise."""

    def record(self, sequence: int, spool_id: bytes = SPOOL, **fields: Any) -> v1.Record:
        made = v1.Record(
            call_id=f"{spool_id[:4].hex()}-0000-7000-8000-{sequence:012x}",
            state=v1.COMPLETED,
            method="POST",
            path=f"/v1/{sequence}",
            http_status=200,
            request_id=f"r-{sequence}",
        )
        made.timing.start.FromNanoseconds(NOW + sequence * SECOND)
        made.timing.duration_us = sequence
        made.request.data = b"question %d" % sequence
        for name, value in fields.items():
            *path, last = name.split("__")
            setattr(functools.reduce(getattr, path, made), last, value)
        return made

    def entry(self, sequence: int, spool_id: bytes = SPOOL, **fields: Any) -> RecordEntry:
        parsed = self.record(sequence, spool_id, **fields)
        encoded = parsed.SerializeToString()
        previous, salt = bytes(32), b"p" * 16
        sealed = previous + sequence.to_bytes(8, "big") + salt + encoded
        return RecordEntry(spool_id, sequence, previous, sha256(sealed).digest(), salt, encoded, parsed)

    def gap(self, first: int, last: int, spool_id: bytes = SPOOL) -> GapEntry:
        return GapEntry(spool_id, first, last, bytes(32), "evicted")

    def sent(self, sequence: int, spool_id: bytes = SPOOL, **fields: Any) -> v1.Entry:
        """As it goes over the wire."""
        entry = self.entry(sequence, spool_id, **fields)
        return v1.Entry(
            record=v1.SpooledRecord(
                sequence=sequence, previous_hash=entry.previous_hash, salt=entry.salt, record=entry.record
            )
        )


@pytest.fixture
def making() -> Making:
    return Making()


@pytest.fixture
def served(making: Making) -> Callable[..., v1.Record]:
    """Makes a record as it is served: with its spool, number and tenant."""

    def made(sequence: int = 1, **fields: Any) -> v1.Record:
        record = making.record(sequence, **fields)
        record.spool_id, record.sequence, record.tenant = SPOOL, sequence, "acme"
        return record

    return made
