"""Messages: the spool's entries in the words of infertap.v1, and back. Pure."""

from collections.abc import Iterable, Sequence

from infertap import v1
from sidecar.spool import Gap, Spooled

Range = tuple[int, int]
Outgoing = Spooled | Gap


def hello(template: v1.Hello, spool_id: bytes) -> v1.IngestRequest:
    """Who we are, and which spool."""
    request = v1.IngestRequest(hello=template)
    request.hello.spool_id = spool_id
    return request


def batch(entries: Iterable[Outgoing]) -> v1.IngestRequest:
    """One batch of entries, in order."""
    return v1.IngestRequest(batch=v1.Batch(entries=[_entry(each) for each in entries]))


def _entry(entry: Outgoing) -> v1.Entry:
    if isinstance(entry, Gap):
        return v1.Entry(
            gap=v1.Gap(first=entry.first, last=entry.last, last_hash=entry.last_hash, reason=entry.reason)
        )
    return v1.Entry(
        record=v1.SpooledRecord(
            sequence=entry.sequence,
            previous_hash=entry.previous_hash,
            salt=entry.salt,
            record=entry.record,
        )
    )


def ranges(told: Sequence[v1.SequenceRange]) -> list[Range]:
    """Ranges as storage tells them."""
    return [(each.first, each.last) for each in told]
