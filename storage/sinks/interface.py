"""Interface: what a sink is to the rest of storage, and what a kind of sink tells of itself. Pure.

A sink is a system that a team already has, to which storage forwards what it keeps. One task for each sink
hands it one batch after the other, in order of arrival, and keeps how far it came. It promises a sink that a
batch is never larger than its limits, and that the next one comes only after this one is settled.

A kind is a module, imported only where a sink of that kind is configured, so that it may need packages of
its own (`kinds.py` lists them). It has one function, `read_kind(table: SinkTable) -> OpenSink`: it takes its
settings out of the table (raising ValueErrors that name the setting; nothing is connected yet) and returns
what makes the sink once the loop runs.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from infertap import v1


class SinkError(Exception):
    """Nothing of a batch arrived, or nobody knows what of it: the same batch is tried again, later.

    `kind` is a few words for people and dashboards, of few values ("http 503", "collector:4318: Connection
    refused"): never payload, nor a credential. `retry_after_seconds`: what the sink asked to wait, where it
    did.
    """

    def __init__(self, kind: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that this sink will never take as it is. It is set aside, and all others go on."""

    # In the batch's records.
    index: int
    # Of few words, without payload: "http 400", "mapper_parsing_exception", "larger than 1 MiB".
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in order of arrival, one at least, each as the query service serves it, without feedback.

    A batch that is tried again has the same number and the same records, but for those that were deleted
    meanwhile; of kinds that repeat exactly (kinds.py) also after a crash. Numbers begin at 1 for each sink,
    and are never used for two batches, but where the archive was put back from a backup: `digest` tells.
    """

    records: Sequence[v1.Record]
    number: int = 1

    @property
    def digest(self) -> str:
        """16 hex digits that tell these records from others."""
        ids = "\n".join(map(record_id, self.records))
        return hashlib.sha256(ids.encode()).hexdigest()[:16]


class Sink(Protocol):
    """Where records go. One call at a time, from the loop's thread: what blocks is run in a thread."""

    async def deliver(self, batch: Batch) -> Sequence[Refused]:
        """Return once all of `batch` is there for good, but for those returned. Raises SinkError; whatever
        else it raises is taken for one. It may be cancelled at any point.
        """

    async def close(self) -> None:
        """Let go of connections and files; harmless when closed."""


# Makes the sink. It may raise SinkError: it is called again later.
OpenSink: TypeAlias = Callable[[], Awaitable[Sink]]


def record_id(record: v1.Record) -> str:
    """What tells a record from all others, for ever and in every sink: by it consumers drop repeats.

    The spool's id in hex, a dash, the sequence: unique where `call_id` is not, as a call that lasts has a
    record for each segment.
    """
    return f"{record.spool_id.hex()}-{record.sequence}"
