"""Storage's senders: spools of records of 2 KiB, and streams that bring them in as sidecars do.

Records are of one day, a chain for each spool; what they say is made from a seed. They are encoded before
anything is timed, as a sidecar does it on another machine.
"""

import asyncio
import random
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import grpc.aio

from infertap import v1

RECORD_BYTES: Final = 2048
# As a sidecar's: entries of a batch, and batches of a stream that are under way.
BATCH_ENTRIES: Final = 256
MOST_UNDER_WAY: Final = 4
DAY_NS: Final = 86_400_000_000_000
MODELS: Final = ("llama-70b", "llama-8b", "iris", "resnet", "reranker")
USERS: Final = 5000
_METHOD: Final = "/infertap.v1.IngestService/Ingest"
_SAID: Final = """the model reads a question and writes what is likely to follow it one word after another
until it ends there are reasons to prefer a small one where time matters and a large one where it is the
answer"""
_WORDS: Final = tuple(_SAID.split())
_MIB: Final = 1 << 20

if TYPE_CHECKING:
    Stream = grpc.aio.StreamStreamCall[bytes, v1.IngestResponse]


class Spool:
    """Encoded batches of one spool, a chain without a gap."""

    def __init__(self, number: int, first_ns: int, step_ns: int) -> None:
        """Its first call starts at `first_ns`, and each `step_ns` after the one before."""
        self.spool_id = sha256(b"spool %d" % number).digest()[:16]
        self._rng = random.Random(number)
        self._start_ns = first_ns
        self._step_ns = step_ns
        self._sequence = 0
        self._hash = bytes(32)
        # One call in a hundred is remembered, to be asked for.
        self.known: list[str] = []

    def batches(self, count: int) -> Iterator[bytes]:
        """So many more, as they go over the wire."""
        for _ in range(count):
            entries = [v1.Entry(record=self._next()) for _ in range(BATCH_ENTRIES)]
            yield v1.IngestRequest(batch=v1.Batch(entries=entries)).SerializeToString()

    def _next(self) -> v1.SpooledRecord:
        self._sequence += 1
        self._start_ns += self._step_ns
        record = _record(self._rng, self._start_ns)
        if self._sequence % 100 == 0:
            self.known.append(record.call_id)
        encoded = record.SerializeToString()
        previous, salt = self._hash, self._rng.randbytes(16)
        self._hash = sha256(previous + self._sequence.to_bytes(8, "big") + salt + encoded).digest()
        return v1.SpooledRecord(sequence=self._sequence, previous_hash=previous, salt=salt, record=encoded)


def _record(rng: random.Random, start_ns: int) -> v1.Record:
    """A call of a language model, 2 KiB as it is kept."""
    is_good = rng.random() < 0.97
    duration_us = int(rng.lognormvariate(13, 1))
    record = v1.Record(
        call_id=_uuid7(rng, start_ns),
        request_id=f"{rng.getrandbits(128):032x}",
        state=v1.COMPLETED if is_good else v1.FAILED,
        protocol=v1.HTTP1,
        method="POST",
        path="/v1/chat/completions",
        http_status=200 if is_good else 503,
        ended_by=v1.EndedBy.MODEL,
        cohort=rng.choice("ab"),
        tags=["bench"],
    )
    record.timing.start.FromNanoseconds(start_ns)
    record.timing.end.FromNanoseconds(start_ns + 1000 * duration_us)
    record.timing.duration_us = duration_us
    record.timing.first_response_byte_us = duration_us // 4
    record.model.name = rng.choice(MODELS)
    record.model.version = rng.choice("123")
    record.model.input_tokens, record.model.output_tokens = rng.randrange(2000), rng.randrange(500)
    record.model.finish_reasons.append("stop")
    record.caller.user = f"hmac:k1:{rng.randrange(USERS):032x}"
    record.sampling.fraction, record.sampling.reason = 1.0, v1.Sampling.RATE
    for payload in (record.request, record.response):
        payload.content_type, payload.sha256 = "application/json", rng.randbytes(32)
    left = RECORD_BYTES - record.ByteSize()
    record.request.data = _text(rng, left // 2 - 8)
    record.response.data = _text(rng, RECORD_BYTES - record.ByteSize() - 4)
    return record


def _text(rng: random.Random, size: int) -> bytes:
    # Some seven letters a word with its blank: more are made than are needed.
    return " ".join(rng.choices(_WORDS, k=size // 3)).encode()[:size]


def _uuid7(rng: random.Random, at_ns: int) -> str:
    """RFC 9562, section 5.7."""
    value = (at_ns // 1_000_000) << 80 | 7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62)
    return str(uuid.UUID(int=value))


@dataclass(slots=True)
class Sent:
    """What came of sending."""

    records: int = 0
    seconds: float = 0.0
    # From the moment that a batch was written to its acknowledgement.
    ack_seconds: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Records acknowledged."""
        return self.records / self.seconds


async def send(address: str, spools: Sequence[tuple[Spool, Sequence[bytes]]]) -> Sent:
    """Bring all batches in, a stream for each spool side by side; ends with the last acknowledgement."""
    options = (("grpc.max_send_message_length", 16 * _MIB), ("grpc.max_receive_message_length", 16 * _MIB))
    sent = Sent()
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        ingest = channel.stream_stream(
            _METHOD,
            request_serializer=_as_they_are,
            response_deserializer=v1.IngestResponse.FromString,
        )
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for spool, batches in spools:
                group.create_task(_send_one(ingest(), spool, batches, sent))
        sent.seconds = time.monotonic() - began
    return sent


def _as_they_are(encoded: bytes) -> bytes:
    return encoded


async def _send_one(call: "Stream", spool: Spool, batches: Sequence[bytes], sent: Sent) -> None:
    hello = v1.IngestRequest(hello=v1.Hello(spool_id=spool.spool_id, pod="bench"))
    await call.write(hello.SerializeToString())
    await _read(call, "welcome")
    written: deque[float] = deque()
    waiting = deque(batches)
    while waiting or written:
        while waiting and len(written) < MOST_UNDER_WAY:
            written.append(time.monotonic())
            await call.write(waiting.popleft())
        ack = (await _read(call, "ack")).ack
        sent.ack_seconds.append(time.monotonic() - written.popleft())
        sent.records += sum(each.last - each.first + 1 for each in ack.ranges)
    call.cancel()


async def _read(call: "Stream", kind: str) -> Any:
    answer = await call.read()
    if not isinstance(answer, v1.IngestResponse) or answer.WhichOneof("message") != kind:
        raise RuntimeError(f"storage did not answer with {kind}")
    return answer
