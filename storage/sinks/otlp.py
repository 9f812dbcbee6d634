"""OTLP: records as spans or log records, by OTLP/HTTP, in binary or JSON. Touches the network.

    POST URL/v1/traces, or URL/v1/logs      application/x-protobuf, or application/json; gzip
    → 200, Export…ServiceResponse           its partial_success tells how many were not accepted

Promises what OpenTelemetry's protocol asks of senders (OTLP 1.x, "OTLP/HTTP Response"): what was accepted in
part is not sent again; Retry-After is heeded. A receiver that does not accept all tells how many, and not
which: then all of that request are refused, so that none is lost silently.
"""

import asyncio
import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from infertap import v1
from storage.sinks.endpoint import Endpoint, EndpointSettings
from storage.sinks.halving import send_rest
from storage.sinks.interface import Batch, OpenSink, Refused, SinkError
from storage.sinks.otlp_spans import KINDS, Form, logs, traces
from storage.sinks.otlp_values import Told
from storage.sinks.otlp_wire import encode, rejected
from storage.sinks.settled import Settled
from storage.sinks.sink_table import SinkTable

_GZIP_LEVEL: Final = 3


@dataclass(frozen=True, slots=True)
class Signal:
    """Spans or log records: what makes the request, its message, its path, what counts those rejected."""

    make: Callable[[Sequence[v1.Record], Form], Told]
    message: str
    path: str
    count: str


SIGNALS: Final = {
    "traces": Signal(traces, "ExportTraceServiceRequest", "/v1/traces", "rejectedSpans"),
    "logs": Signal(logs, "ExportLogsServiceRequest", "/v1/logs", "rejectedLogRecords"),
}


def read_kind(table: SinkTable) -> OpenSink:
    """Its settings; raises ValueError."""
    settings = EndpointSettings.read(table)
    signal = SIGNALS[table.choice("signal", *SIGNALS)]
    is_binary = table.choice("encoding", "protobuf", "json") == "protobuf"
    most = table.size_bytes("payload_bytes", "32KiB", 1, 1 << 20)
    form = Form(
        table.text("service_name", "infertap"),
        most if table.switch("payloads", False) else 0,
        KINDS[table.choice("span_kind", *KINDS)],
    )
    aimed = replace(settings, url=_with_path(settings.url, signal.path))

    async def opened() -> OtlpSink:
        return OtlpSink(Endpoint(aimed), signal, form, is_binary)

    return opened


class OtlpSink:
    """A receiver of one signal."""

    def __init__(self, endpoint: Endpoint, signal: Signal, form: Form, is_binary: bool) -> None:
        """`endpoint` is that of the signal."""
        self._endpoint = endpoint
        self._signal = signal
        self._form = form
        self._is_binary = is_binary
        self._settled = Settled()

    async def deliver(self, batch: Batch) -> Sequence[Refused]:
        """Once the receiver has answered for all of it. Raises SinkError; then only the rest is sent."""
        return await send_rest(batch, self._settled, self._send)

    async def close(self) -> None:
        """Let go of connections."""
        await self._endpoint.close()

    async def _send(self, batch: Batch, indexes: Sequence[int]) -> None:
        records = [batch.records[each] for each in indexes]
        content_type = "application/x-protobuf" if self._is_binary else "application/json"
        body = await asyncio.to_thread(self._compressed, records)
        answer = await self._endpoint.post(body, {"content-type": content_type, "content-encoding": "gzip"})
        count = self._rejected(answer)
        if count:
            reason = f"{count} of {len(indexes)} not accepted"
            self._settled.refuse(Refused(each, reason) for each in indexes)
        self._settled.arrive(indexes if not count else ())

    def _compressed(self, records: Sequence[v1.Record]) -> bytes:
        told = self._signal.make(records, self._form)
        body = encode(told, self._signal.message) if self._is_binary else _as_json(told)
        return gzip.compress(body, _GZIP_LEVEL)

    def _rejected(self, answer: bytes) -> int:
        """How many were not accepted; raises SinkError where the answer is none."""
        try:
            return rejected(answer) if self._is_binary else _rejected_in_json(answer, self._signal.count)
        except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
            raise SinkError("answer not understood") from None


def _as_json(told: Told) -> bytes:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def _rejected_in_json(answer: bytes, name: str) -> int:
    # Receivers that answer nothing at all are many.
    read: dict[str, Any] = json.loads(answer or b"{}")
    return int((read.get("partialSuccess") or {}).get(name) or 0)


def _with_path(url: str, path: str) -> str:
    """As OTEL_EXPORTER_OTLP_ENDPOINT is read: the signal's path goes behind; unless it is there already."""
    parts = urlsplit(url)
    if parts.path.endswith(path):
        return url
    return parts._replace(path=parts.path.rstrip("/") + path).geturl()
