"""What the audit asks of every engine: leaves beside records, entries, notes; verified as anyone would."""

import contextlib
import itertools
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from infertap import v1
from infertap.audit import entry_of
from infertap.query import Query
from infertap.verification import (
    GAP,
    RECORD,
    Ledger,
    LogId,
    Report,
    Verifier,
    Wrong,
    make_key,
    read_heads,
)
from storage.archive import GapEntry, Interrupt, RecordEntry
from storage.archive.duckdb_archive import DuckdbArchive
from storage.audit import Auditing, Signing, Sources, sharing
from storage.audit.exporting import batches_of

if TYPE_CHECKING:
    from tests.storage.conftest import Making

SPOOL, OTHER = b"s" * 16, b"t" * 16
SECOND = 1_000_000_000
NOW = 1_767_225_600 * SECOND
KEY = make_key("storage.example/test")


@pytest.fixture
def auditing(archive: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Auditing]:
    """As over an archive that several keep: heads are read from leaves, on either engine."""
    monkeypatch.setattr(sharing, "SETTLE_SECONDS", 0.0)
    sources = Sources(archive.audit, archive.heads, archive.received, is_shared=True)
    return Auditing(sources, Signing([KEY]), lambda *_, **__: None, lambda _: None)


def chained(making: "Making", count: int, spool_id: bytes = SPOOL, **fields: Any) -> list[RecordEntry]:
    """Records of one spool, from 1, each after the one before."""
    made: list[RecordEntry] = []
    last = bytes(32)
    for sequence in range(1, count + 1):
        entry = making.entry(sequence, spool_id, **fields)
        last, previous = (
            sha256(last + sequence.to_bytes(8, "big") + entry.salt + entry.record).digest(),
            last,
        )
        made.append(RecordEntry(spool_id, sequence, previous, last, entry.salt, entry.record, entry.parsed))
    return made


def verify(archive: Any, auditing: Auditing, notes: list[str]) -> Report:
    report = Report()
    heads = read_heads(notes, [KEY.public], auditing.checkpointing.statements(0, 1000), report)
    with Ledger() as ledger:
        verifier = Verifier(heads, report, ledger)
        for answer in batches_of(archive.audit, None, "", ""):
            if answer.HasField("log"):
                verifier.begin(LogId(answer.log.tenant, answer.log.day, answer.log.log))
            for entry in map(entry_of, answer.entries):
                verifier.take(entry)
        verifier.end()
    return report


def sign(auditing: Auditing) -> str:
    made = auditing.sign()
    assert made is not None
    return made.note


def test_what_was_appended_is_verified(archive: Any, auditing: Auditing, making: "Making") -> None:
    """Records and gaps of several spools and tenants, in several batches and on two days."""
    entries = chained(making, 9)
    archive.append(entries[:4], NOW)
    archive.append(chained(making, 3, OTHER), NOW)
    notes = [sign(auditing)]
    archive.append([GapEntry(SPOOL, 5, 6, entries[5].hash, "evicted"), *entries[6:]], NOW + 86_400 * SECOND)
    notes.append(sign(auditing))
    report = verify(archive, auditing, notes)
    assert report.is_good, report.findings
    assert (report.seen["records"], report.seen["gaps"], report.seen["spools"]) == (10, 1, 2)
    assert report.untold == []


def test_a_second_time_makes_no_second_leaf(archive: Any, auditing: Auditing, making: "Making") -> None:
    """What was received already leaves the logs as they are."""
    entries = chained(making, 4)
    for _ in range(2):
        archive.append(entries, NOW)
    assert sum(log.size for log in archive.audit.logs()) == 4
    assert verify(archive, auditing, [sign(auditing)]).is_good


def test_deleted_records_are_verified(archive: Any, auditing: Auditing, making: "Making") -> None:
    """Tombstones and deletions stand for them, whichever day they were of."""
    archive.append(chained(making, 3, OTHER, caller__user="u-1"), NOW)
    archive.append(chained(making, 4), NOW)
    notes = [sign(auditing)]
    query = Query.of(v1.RecordFilter(user="u-1"))
    assert archive.delete(query, "request", NOW + 86_400 * SECOND, Interrupt()).records == 3
    notes.append(sign(auditing))
    report = verify(archive, auditing, notes)
    assert report.is_good, report.findings
    assert (report.seen["tombstones"], report.seen["deletions"]) == (3, 3)


def test_leaves_and_hashes_are_found(archive: Any, making: "Making") -> None:
    """By spool and sequence, by call, and by the last sequence of each entry."""
    entries = chained(making, 3)
    archive.append([*entries, GapEntry(SPOOL, 4, 7, b"g" * 32, "corrupt")], NOW)
    (place,) = archive.audit.places(SPOOL, 2)
    assert (place.index, place.leaf.kind, place.leaf.hash) == (1, RECORD, entries[1].hash)
    (place,) = archive.audit.places(SPOOL, 5)
    assert (place.leaf.kind, place.leaf.first, place.leaf.last, place.leaf.reason) == (GAP, 4, 7, "corrupt")
    assert archive.audit.places(SPOOL, 8) == archive.audit.places(OTHER, 1) == []
    assert archive.audit.hashes(SPOOL, 2, 7) == {2: entries[1].hash, 3: entries[2].hash, 7: b"g" * 32}
    assert archive.audit.sequences_of(entries[2].parsed.call_id) == [("", SPOOL, 3)]
    assert archive.audit.unlogged((b"", 0), 10) == []


def test_entries_by_the_page(archive: Any, making: "Making") -> None:
    """From any index on, at most so many, with their records."""
    entries = chained(making, 5)
    archive.append(entries, NOW)
    (log,) = [each for each in archive.audit.logs() if each.size]
    found = archive.audit.entries(log, 1, 3)
    assert [each.index for each in found] == [1, 2, 3]
    assert [each.found.record for each in found] == [each.record for each in entries[1:4]]
    assert [each.last for each in archive.audit.leaves(log, 3, 10)] == [4, 5]


def test_notes(archive: Any) -> None:
    """A value for each key, the latest; in either order, a page at a time, and each kind for itself."""
    audit = archive.audit
    keys = [bytes([number]) * 8 for number in range(5)]
    audit.put("a", dict.fromkeys(keys, b"1"))
    audit.put("a", {keys[2]: b"\x00\xff new"})
    audit.put("b", {keys[2]: b"other"})
    assert [key for key, _ in audit.notes("a", b"", 3)] == keys[:3]
    assert [key for key, _ in audit.notes("a", keys[2], 3)] == keys[3:]
    assert [key for key, _ in audit.latest_notes("a", b"", 2)] == [keys[4], keys[3]]
    assert audit.latest_notes("a", keys[3], 1) == [(keys[2], b"\x00\xff new")]
    assert audit.notes("b", b"", 9) == [(keys[2], b"other")]
    assert audit.notes("c", b"", 9) == []
    audit.put("a", {keys[0]: b"", keys[1]: b"2"})
    assert [key for key, _ in audit.notes("a", b"", 9)] == keys[1:]


def test_an_edited_export_is_found(archive: Any, auditing: Auditing, making: "Making") -> None:
    """The same verification, on a copy that somebody changed on its way."""
    archive.append(chained(making, 4), NOW)
    note = sign(auditing)
    report = Report()
    heads = read_heads([note], [KEY.public], auditing.checkpointing.statements(0, 1000), report)
    with Ledger() as ledger:
        verifier = Verifier(heads, report, ledger)
        for answer in batches_of(archive.audit, None, "", ""):
            if answer.HasField("log"):
                verifier.begin(LogId(answer.log.tenant, answer.log.day, answer.log.log))
            for message in answer.entries:
                if message.first == 3:
                    message.envelope.record += b"x"
                verifier.take(entry_of(message))
        verifier.end()
    assert [(each.wrong, each.first) for each in report.findings] == [(Wrong.EDITED, 3)]


def test_asked_while_records_are_deleted(archive: Any, making: "Making") -> None:
    """What the audit asks is answered from the files as they stood when it began, whatever is deleted
    meanwhile; a log that was looked at before is found where it lies now.
    """
    if not isinstance(archive, DuckdbArchive):
        pytest.skip("one engine alone has files that are rewritten")
    archive.append(chained(making, 3, model__name="gone"), NOW)
    archive.append(chained(making, 3, OTHER), NOW)
    (log,) = archive.audit.logs()
    tables = archive.audit
    true, deletions = tables._parts, iter((Query(model="gone"), Query(request_id="r-1")))

    @contextlib.contextmanager
    def deleting() -> Iterator[Any]:
        with true() as parts:
            for query in itertools.islice(deletions, 1):
                archive.delete(query, "request", NOW, Interrupt())
            yield parts

    tables._parts = deleting
    assert sorted(tables.hashes(SPOOL, 1, 3)) == [1, 2, 3]
    assert len(tables.leaves(log, 0, 100)) >= 6
    assert len(tables.entries(log, 0, 100)) >= 6
