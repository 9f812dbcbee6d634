"""Filling: records into a storage that runs, as a sidecar would send them."""

import hashlib
import queue
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from infertap import v1

SECONDS = 60.0
SPOOL = b"exported-records"
# 2026-01-01T00:00:00Z
NOON_NS = 1_767_225_600 * 10**9
_BATCH = 100


def fill(address: str, records: Sequence[v1.Record], spool_id: bytes = SPOOL) -> None:
    """Send all, and wait until all are durable."""
    requests: queue.Queue[v1.IngestRequest | None] = queue.Queue()
    requests.put(v1.IngestRequest(hello=v1.Hello(spool_id=spool_id)))
    entries = list(_entries(records))
    for first in range(0, len(entries), _BATCH):
        requests.put(v1.IngestRequest(batch=v1.Batch(entries=entries[first : first + _BATCH])))
    acked: set[int] = set()
    with grpc.insecure_channel(address) as channel:
        call = v1.IngestServiceStub(channel).Ingest(iter(requests.get, None), timeout=SECONDS)
        for response in call:
            for each in response.ack.ranges:
                acked.update(range(each.first, each.last + 1))
            if len(acked) == len(entries):
                requests.put(None)
    assert len(acked) == len(entries)


def _entries(records: Sequence[v1.Record]) -> Iterator[v1.Entry]:
    previous = bytes(32)
    for sequence, record in enumerate(records, 1):
        salt, encoded = b"s" * 16, record.SerializeToString()
        sealed = previous + sequence.to_bytes(8, "big") + salt + encoded
        yield v1.Entry(
            record=v1.SpooledRecord(sequence=sequence, previous_hash=previous, salt=salt, record=encoded)
        )
        previous = hashlib.sha256(sealed).digest()


def made(number: int, **fields: Any) -> v1.Record:
    """One record; `fields` of it as arguments."""
    record = v1.Record(
        call_id=f"01900000-0000-7000-8000-{number:012x}",
        request_id=f"r-{number}",
        state=v1.COMPLETED,
        protocol=v1.HTTP1,
        method="POST",
        path="/v2/models/iris/infer",
        http_status=200,
        **fields,
    )
    record.timing.start.FromNanoseconds(NOON_NS + number * 10**9)
    record.timing.end.FromNanoseconds(NOON_NS + number * 10**9 + 2_500_000)
    record.timing.duration_us = 2_500 if number == 2 else 900
    record.timing.first_response_byte_us = -1 if number == 2 else 400
    record.model.name = "iris"
    record.sampling.fraction = 1.0
    record.sampling.reason = v1.Sampling.RATE
    return record
