"""To record: a redacted call, and what its payloads tell, as infertap.v1.Record.

Pure. Only numbers are taken from the exchange itself, and what is no text of the wire; every string comes
from the redacted call.
"""

import re
from hashlib import sha256
from itertools import pairwise
from typing import Final, cast

from google.protobuf.timestamp_pb2 import Timestamp

import infertap
from infertap import v1
from sidecar.config import Settings
from sidecar.exchange import Body, EndedBy, Exchange, Protocol
from sidecar.recorder.call_id import text_of
from sidecar.recorder.context import Facts
from sidecar.recorder.json_text import json_text
from sidecar.recorder.payloads import Media, Tensor, View
from sidecar.recorder.read_body import Close
from sidecar.recorder.redacted_call import RedactedCall, RedactedSide
from sidecar.recorder.server_timing import Phase
from sidecar.traceparent import read_traceparent

NOT_UNDERSTOOD: Final = "PAYLOAD_NOT_UNDERSTOOD"
_TOKENS: Final = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
# Of the same name in a redacted call and in its record.
_TEXTS: Final = (
    "request_id",
    "client_request_id",
    "model_request_id",
    "method",
    "path",
    "query",
    "grpc_message",
)
_WHO: Final = ("user", "session", "address")
# … and in a call's facts.
_FACTS: Final = ("cohort", "application_version", "intent")
_GRPC_CANCELLED: Final = 1
# The tap's mark of what the settings refuse.
_REFUSED: Final = "refused"
# RFC 6455, section 7.4.1: normal, going away, no code sent.
_NORMAL_CLOSE: Final = (1000, 1001, 1005)
# What the tap marks a call with is no text of the wire, and can't pass for one.
_is_flag: Final = re.compile(r"[a-z][a-z0-9_]{0,63}").fullmatch


class RecordMaker:
    """Makes the records of one sidecar."""

    def __init__(self, settings: Settings, policy_version: str) -> None:
        self._settings = settings
        self._endpoints = [str(route) for route in settings.all_routes()]
        self._source = v1.Source(
            pod=settings.source_pod,
            namespace=settings.source_namespace,
            node=settings.source_node,
            container=settings.source_container,
            infertap_version=infertap.__version__,
            policy_version=policy_version,
        )

    def bare(self, call_id: bytes, call: Exchange, recorded_at_ns: int) -> v1.Record:
        """What can be told of a call without any text of the wire."""
        record = v1.Record(
            call_id=text_of(call_id),
            protocol=cast("v1.Protocol.ValueType", call.protocol.value),
            ended_by=cast("v1.EndedBy.ValueType", call.ended_by.value),
            http_status=call.status,
            state=_state(call, self._settings.failed_statuses, call.grpc_status),
            source=self._source,
        )
        if call.grpc_status >= 0:
            record.grpc_status = call.grpc_status
        record.segment = call.segment
        record.is_continued = call.is_continued
        trace_id, span_id = read_traceparent(call.traceparent)
        record.trace_id, record.span_id = trace_id.decode(), span_id.decode()
        _set_timing(record.timing, call, recorded_at_ns)
        record.sampling.reason = cast("v1.Sampling.Reason.ValueType", call.reason.value)
        record.sampling.fraction = call.sampling_fraction
        record.model.endpoint = self._endpoint(call)
        for payload, body in ((record.request, call.request), (record.response, call.response)):
            payload.size_bytes = body.size
            payload.captured_bytes = body.captured
            payload.truncated = body.captured < body.size
        if call.flags:
            record.logging_error_codes.extend(sorted({flag.upper() for flag in call.flags if _is_flag(flag)}))
        return record

    def whole(
        self, call_id: bytes, call: Exchange, redacted: RedactedCall, view: View, recorded_at_ns: int
    ) -> v1.Record:
        """All that is to be told."""
        record = self.bare(call_id, call, recorded_at_ns)
        record.state = _state(
            call, self._settings.failed_statuses, redacted.grpc_status, redacted.close, view.failed
        )
        if redacted.is_grpc_web:
            record.protocol = v1.GRPC_WEB
            if redacted.grpc_status >= 0:
                record.grpc_status = redacted.grpc_status
        if redacted.close is not None:
            record.close_code = redacted.close.code
            record.close_reason = redacted.close.reason
        if redacted.grpc_timeout_ns is not None:
            record.timing.grpc_timeout_us = redacted.grpc_timeout_ns // 1000
        record.payload_id = view.payload_id
        for name in _TEXTS:
            if text := getattr(redacted, name):
                setattr(record, name, text)
        _set_facts(record, redacted.facts)
        if redacted.phases:
            record.timing.phases.extend(map(_phase, redacted.phases))
        for name in _WHO:
            if text := getattr(redacted, name):
                setattr(record.caller, name, text)
        self._set_model(record.model, view, redacted.model_version)
        _set_error(record, view)
        codes = record.logging_error_codes
        _set_payload(record.request, redacted.request, view.request_view)
        _set_payload(record.response, redacted.response, view.response_view)
        _set_pieces(record.request, call, call.request)
        _set_pieces(record.response, call, call.response)
        codes.extend(_codes("REQUEST", redacted.request) + _codes("RESPONSE", redacted.response))
        if view.is_odd:
            codes.append(NOT_UNDERSTOOD)
        return record

    def _endpoint(self, call: Exchange) -> str:
        return self._endpoints[call.route] if 0 <= call.route < len(self._endpoints) else ""

    def _set_model(self, model: v1.Model, view: View, header_version: str) -> None:
        settings = self._settings
        model.api, model.operation = view.api, view.operation
        model.name = view.model_name or settings.model_name
        versions = (view.model_version, header_version, view.path_version, settings.model_version)
        model.version = next(filter(None, versions), settings.source_version)
        if view.parameters:
            model.parameters_json = json_text(view.parameters)
        model.finish_reasons.extend(view.finish_reasons)
        for name in _TOKENS:
            count = getattr(view, name)
            if count is not None:
                setattr(model, name, count)
        model.inputs.extend(map(_tensor, view.inputs))
        model.outputs.extend(map(_tensor, view.outputs))


def _state(
    call: Exchange,
    failed_statuses: frozenset[int],
    grpc_status: int,
    close: Close | None = None,
    failed_in_body: bool = False,
) -> "v1.State.ValueType":
    if call.is_continued:
        return v1.INFERENCING
    if close is None and (call.ended_by is EndedBy.CLIENT or grpc_status == _GRPC_CANCELLED):
        return v1.CANCELLED
    if call.protocol is Protocol.WEBSOCKET:  # how it was closed says more than who hung up first
        failed = close is None or close.code not in _NORMAL_CLOSE
    elif call.protocol is Protocol.OPAQUE:  # it has no answer that our own closing could cut
        failed = call.ended_by is EndedBy.MODEL_ABORTED or _REFUSED in call.flags
    elif call.ended_by is not EndedBy.MODEL or failed_in_body or call.reset_code > 0:
        failed = True
    elif call.protocol is Protocol.GRPC:
        failed = grpc_status != 0
    else:
        failed = call.status in failed_statuses or grpc_status > 0
    return v1.FAILED if failed else v1.COMPLETED


def _set_timing(timing: v1.Timing, call: Exchange, recorded_at_ns: int) -> None:
    _set_time(timing.start, call.started_wall_ns)
    _set_time(timing.end, call.started_wall_ns + max(call.ended - call.started, 0))
    _set_time(timing.recorded_at, recorded_at_ns)
    timing.duration_us = _offset(call, call.ended)
    timing.upstream_connected_us = _offset(call, call.upstream_connected)
    timing.request_complete_us = _offset(call, call.request_completed)
    timing.first_response_byte_us = _offset(call, call.first_response_byte)
    if call.accepted >= 0:
        timing.accepted_us = min((call.accepted - call.started) // 1000, 0)
    dialling = max(call.upstream_connected - call.started, 0)
    timing.relay_wait_us = (call.relay_wait_ns + dialling) // 1000
    times = [time for time, _ in call.response.piece_times]
    if len(times) > 1:
        gaps = [(after - before) // 1000 for before, after in pairwise(times)]
        timing.mean_gap_us = sum(gaps) // len(gaps)
        timing.worst_gap_us = max(gaps)


def _set_time(timestamp: Timestamp, nanoseconds: int) -> None:
    timestamp.seconds, timestamp.nanos = divmod(nanoseconds, 1_000_000_000)


def _offset(call: Exchange, time: int) -> int:
    """Microseconds since the start; -1 where it did not happen, 0 for what was before (a kept connection)."""
    return -1 if time < 0 else max((time - call.started) // 1000, 0)


def _set_payload(payload: v1.Payload, side: RedactedSide, view: object) -> None:
    payload.content_type = side.content_type
    payload.content_encoding = side.content_encoding
    body = side.body
    payload.data = body.data
    if body.data:
        payload.sha256 = sha256(body.data).digest()
    payload.digest = body.digest
    if body.tail_offset is not None:
        payload.tail_offset = body.tail_offset
    payload.decoded_json = side.view_json or (json_text(view) if view is not None else "")
    if side.media is not None:
        _set_media(payload, side.media)
    for name, value in side.headers:
        payload.headers.add(name=name, value=value)
    for name, value in side.trailers:
        payload.trailers.add(name=name, value=value)
    for finding in side.findings.listed():
        # "class" is a word of Python's own.
        payload.redactions.add(count=finding.count, field=finding.where, **{"class": finding.kind})


def _phase(phase: Phase) -> v1.Phase:
    return v1.Phase(name=phase.name, duration_us=phase.duration_us, description=phase.description)


def _set_facts(record: v1.Record, facts: Facts) -> None:
    for name in _FACTS:
        if text := getattr(facts, name):
            setattr(record, name, text)
    if facts.tags:
        record.tags.extend(facts.tags)
    if facts.others:
        record.context.update(facts.others)


def _set_error(record: v1.Record, view: View) -> None:
    failure = view.failure
    if failure:
        record.error.type = failure.type
        record.error.message = failure.message
        record.error.stack_trace = failure.stack_trace


def _set_media(payload: v1.Payload, media: Media) -> None:
    said = payload.media
    said.format, said.duration_ms = media.format, media.duration_ms
    said.width, said.height = media.width, media.height
    said.channels, said.sample_rate = media.channels, media.sample_rate


def _set_pieces(payload: v1.Payload, call: Exchange, body: Body) -> None:
    payload.piece_count = body.piece_count
    if len(body.piece_times) > 1:
        add, started = payload.pieces.add, call.started
        for time, size in body.piece_times:  # each field set alone: thrice as fast as by arguments
            piece = add()
            piece.offset_us = max((time - started) // 1000, 0)
            piece.size_bytes = size


def _codes(side: str, redacted: RedactedSide) -> list[str]:
    codes = []
    if redacted.truncated:
        codes.append(f"MAX_{side}_SIZE_EXCEEDED")
    if redacted.is_view_cut:
        codes.append(f"{side}_VIEW_CUT")
    if redacted.is_tail_unread:
        codes.append(f"{side}_TAIL_UNREADABLE")
    if redacted.body.withheld is not None:
        codes.append(f"{side}_BODY_{redacted.body.withheld.upper()}")
    return codes


def _tensor(tensor: Tensor) -> v1.Tensor:
    return v1.Tensor(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
