"""CloudEvents: posts records as events over HTTP (HTTP binding 1.0.2). Touches the network.

    mode "batch"    many events in one request: application/cloudevents-batch+json (section 3.3)
    mode "binary"   one request for each event: attributes as ce- headers, the data as the body (section 3.1)

`events = "kserve"`, in binary mode: in place of our events those that KServe's logger sends, two for each
call: the bodies as they are, so that what reads KServe's events reads these (see `kserve_events`).

An endpoint that refuses a batch does not say for which of its events; halves of it are sent until the guilty
one stands alone. Of a batch that is tried again in binary mode only those are sent that have not arrived.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from infertap import v1
from storage.sinks.endpoint import Endpoint, EndpointSettings, NotTaken
from storage.sinks.events import binary_headers, json_record, kserve_events, structured_event
from storage.sinks.halving import send_in_halves
from storage.sinks.interface import Batch, OpenSink, Refused, Sink, SinkError
from storage.sinks.settled import Settled
from storage.sinks.sink_table import SinkTable

_BATCH: Final = {"content-type": "application/cloudevents-batch+json; charset=utf-8"}
# So many refused, and none taken, are no coincidence: the endpoint is ill, not the records.
_MOST_REFUSED: Final = 8

# Headers that are too large: in binary mode they are made of the record.
_OF_HEADERS: Final = frozenset({431})
# So is the type of the body, where it is that of the call.
_OF_CALLS_HEADERS: Final = frozenset({415, 431})

# Headers and body of one request.
_Request: TypeAlias = tuple[Mapping[str, str], bytes]
_Encode: TypeAlias = Callable[[v1.Record], Sequence[_Request]]


@dataclass(frozen=True, slots=True)
class _Form:
    """How events are sent; `encode` is None in batch mode."""

    source: str
    encode: _Encode | None
    # Statuses that are about what a request is made of, beyond those that always are.
    not_taken: frozenset[int]
    concurrency: int


def read_kind(table: SinkTable) -> OpenSink:
    """What an endpoint needs, and `mode`, `events`, `source`, `concurrency`. Raises ValueError."""
    endpoint = EndpointSettings.read(table)
    mode, events = table.choice("mode", "batch", "binary"), table.choice("events", "records", "kserve")
    source = table.text("source", "/infertap")
    if events == "kserve" and mode != "binary":
        raise ValueError('events: "kserve" needs mode = "binary"')
    encode: _Encode | None = None
    if mode == "binary":
        encode = (lambda record: kserve_events(record, source)) if events == "kserve" else _ours(source)
    not_taken = _OF_CALLS_HEADERS if events == "kserve" else _OF_HEADERS
    form = _Form(source, encode, not_taken, table.integer("concurrency", 8, 1, 64))

    async def make() -> Sink:
        return CloudEvents(Endpoint(endpoint), form)

    return make


def _ours(source: str) -> _Encode:
    return lambda record: [(binary_headers(record, source), json_record(record))]


class CloudEvents:
    """The sink."""

    def __init__(self, endpoint: Endpoint, form: _Form) -> None:
        self._endpoint = endpoint
        self._form = form
        self._settled = Settled()

    async def deliver(self, batch: Batch) -> Sequence[Refused]:
        """See Sink."""
        if self._form.encode is None:
            return await self._deliver_whole(batch)
        return await self._deliver_each(batch, self._form.encode)

    async def close(self) -> None:
        """See Sink."""
        await self._endpoint.close()

    async def _deliver_whole(self, batch: Batch) -> Sequence[Refused]:
        source = self._form.source
        events = await asyncio.to_thread(lambda: [structured_event(each, source) for each in batch.records])

        async def send(indexes: Sequence[int]) -> None:
            body = b"[" + b",".join(events[index] for index in indexes) + b"]"
            await self._endpoint.post(body, _BATCH)

        return await send_in_halves(range(len(events)), send)

    async def _deliver_each(self, batch: Batch, encode: _Encode) -> Sequence[Refused]:
        left = self._settled.left_of(batch)
        requests = await asyncio.to_thread(lambda: {index: encode(batch.records[index]) for index in left})
        refused: list[Refused] = []
        arrived = len(batch.records) - len(left)
        turns = iter(left)

        async def post_some() -> None:
            nonlocal arrived
            for index in turns:
                try:
                    for headers, body in requests[index]:
                        await self._endpoint.post(body, headers, self._form.not_taken)
                except NotTaken as refusal:
                    refused.append(Refused(index, str(refusal)))
                    if len(refused) >= _MOST_REFUSED and not arrived:
                        raise SinkError(str(refusal)) from None
                else:
                    self._settled.arrive([index])
                    arrived += 1

        await _all_of([post_some() for _ in range(self._form.concurrency)])
        self._settled.refuse(refused)
        return self._settled.refused


async def _all_of(acts: Sequence[Coroutine[None, None, None]]) -> None:
    """Run them all; the first that fails ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for act in acts:
                group.create_task(act)
    except* SinkError as errors:
        longest = max(errors.exceptions, key=lambda each: getattr(each, "retry_after_seconds", None) or 0.0)
        raise longest from None
