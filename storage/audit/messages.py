"""Messages: entries of logs in the words of infertap.v1. Pure."""

from infertap import v1
from infertap.verification import Envelope, LoggedEntry, LogId


def log_message(log: LogId) -> v1.LogId:
    """The name of a log."""
    return v1.LogId(tenant=log.tenant, day=log.day, log=log.log)


def entry_message(entry: LoggedEntry) -> v1.LogEntry:
    """One leaf and what is there of it."""
    leaf, found = entry.leaf, entry.found
    made = v1.LogEntry(
        index=entry.index,
        # Numbered alike.
        kind=v1.LogEntry.Kind.ValueType(leaf.kind),
        spool_id=leaf.spool_id,
        first=leaf.first,
        last=leaf.last,
        hash=leaf.hash,
        reason=leaf.reason,
    )
    if isinstance(found, Envelope):
        made.envelope.previous_hash, made.envelope.salt = found.previous_hash, found.salt
        made.envelope.record = found.record
    elif found is not None:
        made.tombstone.previous_hash, made.tombstone.reason = found.previous_hash, found.reason
        made.tombstone.deleted_at.FromNanoseconds(found.deleted_ns)
    if entry.stored_ns:
        made.stored_at.FromNanoseconds(entry.stored_ns)
    return made
