"""A receiver of OTLP/HTTP: reads what comes with OpenTelemetry's own messages."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

BINARY, JSON = "application/x-protobuf", "application/json"


@dataclass
class Receiver:
    """What arrived, and what is answered."""

    traces: list[ExportTraceServiceRequest] = field(default_factory=list)
    logs: list[ExportLogsServiceRequest] = field(default_factory=list)
    # First come first.
    answers: list[web.Response] = field(default_factory=list)
    rejected: int = 0
    # A span with this name makes its whole request a bad one.
    bad_name: str = ""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/traces", self._traces)
        app.router.add_post("/otlp/v1/logs", self._logs)
        return app

    async def _traces(self, request: web.Request) -> web.Response:
        came = await self._parsed(request, ExportTraceServiceRequest())
        if self.answers:
            return self.answers.pop(0)
        names = {each.name for each in spans_of([came])}
        if self.bad_name in names:
            return web.Response(status=400)
        self.traces.append(came)
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = self.rejected
        answer.partial_success.error_message = "too many attributes"
        return _answered(request, answer)

    async def _logs(self, request: web.Request) -> web.Response:
        self.logs.append(await self._parsed(request, ExportLogsServiceRequest()))
        answer = ExportLogsServiceResponse()
        answer.partial_success.rejected_log_records = self.rejected
        return _answered(request, answer)

    async def _parsed(self, request: web.Request, message: Any) -> Any:
        # aiohttp has opened the gzip.
        assert request.headers["content-encoding"] == "gzip"
        body = await request.read()
        if request.content_type == BINARY:
            message.ParseFromString(body)
        else:
            assert request.content_type == JSON
            ParseDict(with_base64_ids(json.loads(body)), message)
        return message


def _answered(request: web.Request, answer: Any) -> web.Response:
    if request.content_type == BINARY:
        return web.Response(body=answer.SerializeToString(), content_type=BINARY)
    partial = (
        {"rejectedSpans": str(answer.partial_success.rejected_spans)} if request.path == "/v1/traces" else {}
    )
    return web.json_response({"partialSuccess": partial})


def with_base64_ids(told: Any) -> Any:
    """OTLP's JSON has ids in hexadecimal, where protobuf's has base64; and enums as numbers only."""
    if isinstance(told, list):
        return [with_base64_ids(each) for each in told]
    if not isinstance(told, dict):
        return told
    made = {name: with_base64_ids(value) for name, value in told.items()}
    for name in ("traceId", "spanId", "parentSpanId"):
        if name in made:
            made[name] = base64.b64encode(bytes.fromhex(made[name])).decode()
    for name in ("kind", "code", "severityNumber"):
        assert isinstance(made.get(name, 0), int)
    return made


def spans_of(requests: list[ExportTraceServiceRequest]) -> list[Any]:
    return [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def record_number(span: Any) -> int:
    """The sequence of the record that a span is of."""
    told = {each.key: each.value.string_value for each in span.attributes}
    return int(told["infertap.record"].rpartition("-")[2])
