"""Exporting: the leaves of a tenant's logs with their records, in answers of some MiB. Reads the archive."""

from collections.abc import Iterator
from typing import Final

from infertap import v1
from storage.audit.interface import AuditArchive, LogSize
from storage.audit.messages import entry_message, log_message

# Leaves read at first, and at most, at a time: records may be large, and mostly are not.
_FIRST: Final = 50
_MOST: Final = 1000
_BYTES: Final = 2 << 20


def batches_of(
    archive: AuditArchive, tenant: str | None, first_day: str, last_day: str
) -> Iterator[v1.ExportLogResponse]:
    """Answers: each log's entries in order, then records that no leaf tells of. Raises ArchiveError."""
    for log in archive.logs():
        is_theirs = tenant in (None, log.log.tenant)
        if is_theirs and first_day <= log.log.day and (not last_day or log.log.day <= last_day):
            yield v1.ExportLogResponse(log=log_message(log.log))
            yield from _entries(archive, log)
    yield from _unlogged(archive, tenant)


def _entries(archive: AuditArchive, log: LogSize) -> Iterator[v1.ExportLogResponse]:
    first, most = 0, _FIRST
    while first < log.size:
        entries = archive.entries(log, first, min(most, log.size - first))
        if not entries:
            return
        answers = list(_cut(list(map(entry_message, entries))))
        yield from answers
        size = sum(answer.ByteSize() for answer in answers)
        most = max(1, min(_MOST, _BYTES * len(entries) // max(size, 1)))
        first = (entries[-1].index or 0) + 1


def _unlogged(archive: AuditArchive, tenant: str | None) -> Iterator[v1.ExportLogResponse]:
    after = (b"", 0)
    yield v1.ExportLogResponse(log=v1.LogId())
    while found := archive.unlogged(after, _FIRST):
        after = (found[-1][1].leaf.spool_id, found[-1][1].leaf.first)
        yield from _cut([entry_message(entry) for theirs, entry in found if tenant in (None, theirs)])


def _cut(entries: list[v1.LogEntry]) -> Iterator[v1.ExportLogResponse]:
    """The entries in answers of about _BYTES."""
    batch: list[v1.LogEntry] = []
    size = 0
    for entry in entries:
        weight = entry.ByteSize()
        if batch and size + weight > _BYTES:
            yield v1.ExportLogResponse(entries=batch)
            batch, size = [], 0
        batch.append(entry)
        size += weight
    if batch:
        yield v1.ExportLogResponse(entries=batch)
