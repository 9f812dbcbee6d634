"""OTLP attributes: what a record says, by OpenTelemetry's semantic conventions. Pure.

Names are those of the conventions 1.44, and for `gen_ai.*` of semantic-conventions-genai as of November 2026
(in development there). Those of generative models stand only with calls of their interfaces; whatever no
convention names is under `infertap.*`. Texts that come of bodies (messages of errors, the bodies themselves)
stand only where the settings ask for payloads.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from infertap import v1
from infertap.names import name_of
from storage.sinks.interface import record_id
from storage.sinks.otlp_messages import chat_messages
from storage.sinks.payload_texts import text_of

# By `model.api`: gen_ai.provider.name.
PROVIDERS: Final = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "gcp.gemini",
    "bedrock": "aws.bedrock",
    "cohere": "cohere",
    "ollama": "ollama",
    "text_generation": "text_generation",
}
_OPERATIONS: Final = {"responses": "chat"}
_HTTP_VERSIONS: Final = {v1.HTTP1: "1.1", v1.HTTP2: "2", v1.GRPC: "2", v1.WEBSOCKET: "1.1"}
# https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
_GRPC_STATUSES: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE"),
    *("UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
_MOST_PARAMETERS_BYTES: Final = 64 << 10


def resource_attributes(record: v1.Record, service: str) -> dict[str, Any]:
    """Where it was recorded."""
    source = record.source
    return {
        "service.name": service,
        "k8s.pod.name": source.pod,
        "k8s.namespace.name": source.namespace,
        "k8s.node.name": source.node,
        "k8s.container.name": source.container,
        "infertap.tenant": record.tenant,
    }


def call_attributes(record: v1.Record, payload_bytes: int) -> dict[str, Any]:
    """What is said of the call itself; of bodies at most so many bytes each, none with 0."""
    return {
        **_transport(record),
        **(_generative(record) if record.model.api in PROVIDERS else {}),
        "error.type": error_type(record),
        **_own(record),
        **(_payloads(record, payload_bytes) if payload_bytes else {}),
    }


def operation_of(record: v1.Record) -> str:
    """What is asked, by its name in the conventions where there is one; empty where it is not known."""
    return _OPERATIONS.get(record.model.operation, record.model.operation)


def error_type(record: v1.Record) -> str:
    """Of a call that failed: as the model names it, else its status, else who broke it off."""
    if record.state != v1.FAILED:
        return ""
    if record.error.type:
        return record.error.type
    if record.HasField("grpc_status") and record.grpc_status:
        return grpc_status_name(record.grpc_status)
    if record.http_status >= 400:
        return str(record.http_status)
    return name_of(v1.EndedBy, record.ended_by) if record.ended_by else "_OTHER"


def grpc_status_name(status: int) -> str:
    """Its name; the number itself where there is none."""
    return _GRPC_STATUSES[status] if 0 <= status < len(_GRPC_STATUSES) else str(status)


def _transport(record: v1.Record) -> dict[str, Any]:
    told: dict[str, Any] = {
        "network.protocol.name": "http" if record.protocol in _HTTP_VERSIONS else "",
        "network.protocol.version": _HTTP_VERSIONS.get(record.protocol, ""),
        "http.request.method": record.method,
        "http.response.status_code": record.http_status or None,
        "http.request.body.size": record.request.size_bytes,
        "http.response.body.size": record.response.size_bytes,
        "url.path": record.path,
        "url.query": record.query,
    }
    if record.protocol in (v1.GRPC, v1.GRPC_WEB):
        status = grpc_status_name(record.grpc_status) if record.HasField("grpc_status") else ""
        told |= {"rpc.system.name": "grpc", "rpc.method": record.path.lstrip("/")}
        told |= {"rpc.response.status_code": status}
    return told


def _generative(record: v1.Record) -> dict[str, Any]:
    model = record.model
    parameters = _parameters(model.parameters_json)
    is_stream = parameters.get("stream") is True or record.response.content_type.startswith(
        "text/event-stream"
    )
    first_us = record.timing.first_response_byte_us
    return {
        "gen_ai.operation.name": operation_of(record),
        "gen_ai.provider.name": PROVIDERS[model.api],
        "gen_ai.request.model": model.name,
        "gen_ai.response.model": model.name if record.state == v1.COMPLETED else "",
        "gen_ai.response.id": record.payload_id,
        "gen_ai.response.finish_reasons": list(model.finish_reasons),
        "gen_ai.usage.input_tokens": _if_told(model, "input_tokens"),
        "gen_ai.usage.output_tokens": _if_told(model, "output_tokens"),
        "gen_ai.usage.cache_read.input_tokens": _if_told(model, "cached_input_tokens"),
        "gen_ai.usage.reasoning.output_tokens": _if_told(model, "reasoning_tokens"),
        "gen_ai.conversation.id": record.caller.session,
        "gen_ai.request.stream": True if is_stream else None,
        "gen_ai.response.time_to_first_chunk": first_us / 1e6 if is_stream and first_us >= 0 else None,
        **_asked(parameters),
    }


def _own(record: v1.Record) -> dict[str, Any]:
    model, timing = record.model, record.timing
    return {
        "infertap.record": record_id(record),
        "infertap.call_id": record.call_id,
        "infertap.request_id": record.request_id,
        "infertap.state": name_of(v1.State, record.state),
        "infertap.ended_by": name_of(v1.EndedBy, record.ended_by) if record.ended_by else "",
        "infertap.model.name": model.name,
        "infertap.model.version": model.version,
        "infertap.model.endpoint": model.endpoint,
        "infertap.api": model.api,
        "infertap.operation": model.operation,
        "infertap.caller.user": record.caller.user,
        "infertap.caller.session": record.caller.session,
        "infertap.caller.address": record.caller.address,
        "infertap.cohort": record.cohort,
        "infertap.application_version": record.application_version,
        "infertap.intent": record.intent,
        "infertap.tags": list(record.tags),
        "infertap.relay_wait_us": timing.relay_wait_us,
        "infertap.sampling.fraction": record.sampling.fraction if 0 < record.sampling.fraction <= 1 else None,
        "infertap.logging_error_codes": list(record.logging_error_codes),
        "infertap.segment": record.segment if record.segment or record.is_continued else None,
        "infertap.is_continued": True if record.is_continued else None,
        **{f"infertap.context.{name}": value for name, value in sorted(record.context.items())},
    }


def _payloads(record: v1.Record, most_bytes: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for side, payload in (("request", record.request), ("response", record.response)):
        text, is_cut = text_of(payload, most_bytes)
        told |= {f"infertap.{side}.body": text, f"infertap.{side}.body_cut": True if is_cut else None}
    return told | chat_messages(record, most_bytes)


def _if_told(message: v1.Model, name: str) -> int | None:
    return int(getattr(message, name)) if message.HasField(name) else None  # type: ignore[arg-type]


def _parameters(text: str) -> dict[str, Any]:
    """Of the request; none where they are not said as an object, or are too long to be looked through."""
    if not text or len(text) > _MOST_PARAMETERS_BYTES:
        return {}
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _asked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that the conventions name, by the names that callers use; of the right type only."""
    told: dict[str, Any] = {}
    for name, (convention, read) in _PARAMETERS.items():
        value = read(parameters[name]) if name in parameters else None
        if value is not None:
            told.setdefault(convention, value)
    if told.get("gen_ai.request.choice.count") == 1:
        del told["gen_ai.request.choice.count"]
    return told


def _double(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and -1e300 < value < 1e300 else None


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> list[str] | None:
    listed = value if isinstance(value, list) else [value]
    return listed if all(isinstance(each, str) for each in listed) else None


_MAX_TOKENS: Final = ("gen_ai.request.max_tokens", _int)
_STOP: Final = ("gen_ai.request.stop_sequences", _texts)
_TOP_P: Final = ("gen_ai.request.top_p", _double)
_TOP_K: Final = ("gen_ai.request.top_k", _int)
_COUNT: Final = ("gen_ai.request.choice.count", _int)
_PARAMETERS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "temperature": ("gen_ai.request.temperature", _double),
    "top_p": _TOP_P,
    "topP": _TOP_P,
    "p": _TOP_P,
    "top_k": _TOP_K,
    "topK": _TOP_K,
    "k": _TOP_K,
    "seed": ("gen_ai.request.seed", _int),
    "presence_penalty": ("gen_ai.request.presence_penalty", _double),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", _double),
    "max_completion_tokens": _MAX_TOKENS,
    "max_output_tokens": _MAX_TOKENS,
    "max_tokens": _MAX_TOKENS,
    "maxOutputTokens": _MAX_TOKENS,
    "maxTokens": _MAX_TOKENS,
    "max_new_tokens": _MAX_TOKENS,
    "num_predict": _MAX_TOKENS,
    "stop": _STOP,
    "stop_sequences": _STOP,
    "stopSequences": _STOP,
    "n": _COUNT,
    "candidateCount": _COUNT,
    "reasoning_effort": ("gen_ai.request.reasoning.level", _text),
}
