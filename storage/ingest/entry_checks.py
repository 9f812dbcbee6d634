"""Entry checks: what of a batch storage keeps, what it will never take, and what is no batch at all. Pure."""

import re
from typing import Final

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from infertap import v1
from infertap.query import InvalidArgumentError
from infertap.verification import record_hash
from storage.archive import Entry, GapEntry, RecordEntry

RECORD_BYTES: Final = 3 << 20
MOST_ENTRIES: Final = 10_000
_HASH_BYTES: Final = 32
_SALT_BYTES: Final = 16
_MOST_SEQUENCE: Final = (1 << 63) - 1
_REASON_MOST: Final = 64
# A record may start this long before the epoch of its own clock, or after: beyond, it is no time.
_FIRST_NS: Final = 0
_LAST_NS: Final = (1 << 63) - 1
_NANOS: Final = 1_000_000_000
# A UUID as RFC 9562, section 4 spells it: any other spelling would never be found.
_CALL_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class RejectedError(ValueError):
    """One entry will never be taken."""

    def __init__(self, sequence: int, why: str) -> None:
        super().__init__(why)
        self.sequence = sequence
        self.why = why


def read_entries(spool_id: bytes, batch: v1.Batch, tenant: str) -> tuple[list[Entry], list[v1.Reject]]:
    """The batch's entries, checked, and a rejection for each that will never be taken. Raises
    InvalidArgumentError.
    """
    if len(batch.entries) > MOST_ENTRIES:
        raise InvalidArgumentError("batch.entries", f"more than {MOST_ENTRIES}")
    entries: list[Entry] = []
    rejected: list[v1.Reject] = []
    for number, each in enumerate(batch.entries):
        try:
            entries.append(_read_entry(spool_id, each, number, tenant))
        except RejectedError as error:
            rejected.append(v1.Reject(sequence=error.sequence, reason=error.why))
    return entries, rejected


def _read_entry(spool_id: bytes, entry: v1.Entry, number: int, tenant: str) -> Entry:
    """The batch's entry of that number, checked. Raises RejectedError, or InvalidArgumentError where it is no
    entry at all.
    """
    kind = entry.WhichOneof("entry")
    if kind == "record":
        return _read_record(spool_id, entry.record, number, tenant)
    if kind == "gap":
        return _read_gap(spool_id, entry.gap, f"batch.entries[{number}].gap", tenant)
    raise InvalidArgumentError(f"batch.entries[{number}]", "neither record nor gap")


def _read_record(spool_id: bytes, sent: v1.SpooledRecord, number: int, tenant: str) -> RecordEntry:
    # Each taken once: what is taken out of a message is copied each time.
    sequence, previous_hash, salt, record = sent.sequence, sent.previous_hash, sent.salt, sent.record
    if not 0 < sequence <= _MOST_SEQUENCE:
        raise InvalidArgumentError(f"batch.entries[{number}].record.sequence", "expected 1 or more")
    if len(previous_hash) != _HASH_BYTES or len(salt) != _SALT_BYTES:
        raise RejectedError(sequence, "hash or salt of another length")
    if len(record) > RECORD_BYTES:
        raise RejectedError(sequence, f"record of more than {RECORD_BYTES} bytes")
    try:
        parsed = v1.Record.FromString(record)
    except DecodeError:
        raise RejectedError(sequence, "not a record") from None
    if not _CALL_ID.fullmatch(parsed.call_id) or not _is_time(parsed.timing.start):
        raise RejectedError(sequence, "record without a call id or a start")
    hashed = record_hash(previous_hash, sequence, salt, record)
    return RecordEntry(spool_id, sequence, previous_hash, hashed, salt, record, parsed, tenant)


def _is_time(start: Timestamp) -> bool:
    return 0 <= start.nanos < _NANOS and _FIRST_NS <= start.seconds * _NANOS + start.nanos <= _LAST_NS


def _read_gap(spool_id: bytes, sent: v1.Gap, field: str, tenant: str) -> GapEntry:
    if not 0 < sent.first <= sent.last <= _MOST_SEQUENCE:
        raise InvalidArgumentError(f"{field}.last", "expected first or more, from 1")
    if len(sent.last_hash) not in (0, _HASH_BYTES):
        raise InvalidArgumentError(f"{field}.last_hash", f"expected {_HASH_BYTES} bytes")
    return GapEntry(spool_id, sent.first, sent.last, sent.last_hash, sent.reason[:_REASON_MOST], tenant)
