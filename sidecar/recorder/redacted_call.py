"""Redacted call: an exchange with everything in it redacted. After this step nothing raw is left.

Pure. `redact_call` is the pipeline's redaction stage; a call that it can't redact raises, and the caller then
keeps only what holds no text of the wire.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.config import Settings
from sidecar.exchange import Body, Exchange
from sidecar.protocols import decode_status_message, parse_head, timeout_ns
from sidecar.recorder.bodies import Bodies, is_web, value_of
from sidecar.recorder.context import ContextReader, Facts
from sidecar.recorder.payloads import STATUS_DETAILS, Media, Side, describe, read_details
from sidecar.recorder.read_body import Close, Fields, NamedFields, ReadBody, WireSide
from sidecar.recorder.redaction import Findings, RedactedBody, Redactor, Withheld
from sidecar.recorder.schemas import Schemas
from sidecar.recorder.server_timing import Phase, read_phases

# RFC 9112, section 3.2.2: scheme, authority, path.
_match_absolute: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/]*)(.*)", re.DOTALL).fullmatch
# Servers that name the version of the model in a header: by convention, Azure ML, SageMaker.
_VERSION_HEADERS: Final = frozenset(
    {b"x-model-version", b"model-version", b"azureml-model-deployment", b"x-amzn-invoked-production-variant"}
)
_VERSION_LENGTHS: Final = frozenset(map(len, _VERSION_HEADERS))


@dataclass(frozen=True, slots=True)
class RedactedSide:
    """One direction."""

    content_type: str
    content_encoding: str
    truncated: bool
    body: RedactedBody
    findings: Findings
    headers: list[tuple[str, str]] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    # The documents as JSON, where the body's bytes are not JSON themselves.
    view_json: str = ""
    # The documents do not show all that the body holds.
    is_view_cut: bool = False
    # Its end was captured, and can't be read without what is missing.
    is_tail_unread: bool = False
    close: Close | None = None
    # Numbers only.
    media: Media | None = None

    def reading(self) -> Side:
        """This direction as the payload readers see it."""
        return Side(self.content_type.partition(";")[0].strip().lower(), self.body.documents, self.body.data)


@dataclass(frozen=True, slots=True)
class RedactedCall:
    """A call of which nothing is raw any more: ids, texts and bodies. Numbers stay the exchange's."""

    request_id: str
    client_request_id: str
    model_request_id: str
    method: str
    path: str
    query: str
    grpc_message: str
    user: str
    session: str
    address: str
    facts: Facts
    phases: list[Phase]
    request: RedactedSide
    response: RedactedSide
    is_grpc_web: bool = False
    # As the trailers say, or the end of a body of gRPC-Web; -1 where nothing does.
    grpc_status: int = -1
    grpc_timeout_ns: int | None = None
    grpc_details: tuple[Any, ...] = ()
    # As the answer's headers say.
    model_version: str = ""

    @property
    def close(self) -> Close | None:
        """What closed a WebSocket: the first close frame of either side."""
        closes = [side.close for side in (self.request, self.response) if side.close is not None]
        return min(closes, key=lambda close: close.at, default=None)


class CallRedaction:
    """Redacts calls by one policy."""

    def __init__(self, settings: Settings, redactor: Redactor, schemas: Schemas) -> None:
        self._redactor = redactor
        self._context_headers = {name.lower().encode(): name.lower() for name in settings.context_headers}
        self._user_header = _lower(settings.user_header)
        self._session_header = _lower(settings.session_header)
        self._facts = ContextReader(settings.context_fields, redactor)
        self._bodies = Bodies(redactor, settings.body_limit_bytes, schemas)

    def redact(self, call: Exchange, key: bytes = b"") -> RedactedCall:
        """`call` with everything redacted. `key` names the call, where other segments of it may follow."""
        # What is asked counts with the request, what is answered with the response.
        findings, answer_findings = Findings(), Findings()
        redactor = self._redactor
        request_fields = _fields(call.request_head, call.request_headers)
        response_fields = _fields(call.response_head, call.response_headers)
        target, _, query = call.target.partition(b"?")
        path = redactor.raw(_path(target, findings), "path", findings)
        extensions = value_of(response_fields, b"sec-websocket-extensions")
        request_body = self._bodies.read(WireSide(call, True, request_fields, extensions, key), findings)
        response_body = self._bodies.read(
            WireSide(call, False, response_fields, extensions, key), answer_findings
        )
        grpc_message = call.grpc_message or response_body.grpc_message
        shown_query = redactor.query(query, findings) if query else ""
        facts = self._read_facts(request_fields, shown_query, request_body.body.documents, findings)
        return RedactedCall(
            request_id=redactor.raw(call.request_id, "request_id", findings),
            client_request_id=redactor.raw(call.client_request_id, "client_request_id", findings),
            model_request_id=redactor.raw(call.model_request_id, "model_request_id", answer_findings),
            method=redactor.raw(call.method[:32], "method", findings),
            path=path,
            query=shown_query,
            grpc_message=redactor.raw(decode_status_message(grpc_message), "grpc_message", answer_findings),
            user=redactor.keyed_hash(value_of(request_fields, self._user_header)) or facts.user,
            session=redactor.keyed_hash(value_of(request_fields, self._session_header)) or facts.session,
            address=redactor.keyed_hash(call.client_address.rpartition(":")[0].encode()),
            facts=facts,
            phases=self._phases(response_fields, answer_findings),
            request=self._side(request_body, call.request, request_fields, call.request_trailers, findings),
            response=self._side(
                response_body, call.response, response_fields, call.response_trailers, answer_findings
            ),
            is_grpc_web=is_web(value_of(request_fields, b"content-type").decode("latin-1")),
            grpc_status=response_body.grpc_status if call.grpc_status < 0 else call.grpc_status,
            grpc_timeout_ns=timeout_ns(value_of(request_fields, b"grpc-timeout")),
            grpc_details=self._details(call, response_fields, response_body, answer_findings),
            model_version=self._version(response_fields, answer_findings),
        )

    def _read_facts(
        self, fields: Fields, query: str, documents: tuple[Any, ...], findings: Findings
    ) -> Facts:
        facts = self._facts.read(fields, query, documents, findings)
        facts.others |= self._context(fields, findings)
        return facts

    def _details(self, call: Exchange, fields: Fields, read: ReadBody, findings: Findings) -> tuple[Any, ...]:
        """Of a failed call of gRPC; they stand in the trailers, which may be the only head, or end a body."""
        if max(call.grpc_status, read.grpc_status) <= 0:
            return ()
        in_head = value_of(call.response_trailers, STATUS_DETAILS) or value_of(fields, STATUS_DETAILS)
        raw = in_head or read.grpc_details
        details = self._redactor.documents(read_details(raw), findings) if raw else ()
        return () if isinstance(details, Withheld) else details

    def _version(self, fields: Fields, findings: Findings) -> str:
        for name, raw in fields:
            if len(name) in _VERSION_LENGTHS and name.lower() in _VERSION_HEADERS and raw:
                return self._redactor.header(name.lower().decode(), raw, "header", findings)
        return ""

    def _phases(self, fields: Fields, findings: Findings) -> list[Phase]:
        raw = value_of(fields, b"server-timing")
        return read_phases(self._redactor.header("server-timing", raw, "header", findings)) if raw else []

    def _context(self, fields: Fields, findings: Findings) -> dict[str, str]:
        if not self._context_headers:
            return {}
        named = [(self._context_headers.get(name.lower()), value) for name, value in fields]
        return {
            name: self._redactor.header(name, value, "context", findings)
            for name, value in named
            if name is not None
        }

    def _side(
        self, read: ReadBody, body: Body, fields: Fields, trailers: Fields, findings: Findings
    ) -> RedactedSide:
        redactor = self._redactor
        return RedactedSide(
            content_type=redactor.raw(value_of(fields, b"content-type"), "content-type", findings),
            content_encoding=redactor.raw(
                value_of(fields, b"content-encoding"), "content-encoding", findings
            ),
            truncated=read.is_cut or body.captured < body.size,
            body=read.body,
            findings=findings,
            headers=redactor.headers(fields, "header", findings),
            trailers=redactor.headers(trailers, "trailer", findings) if trailers else [],
            view_json=read.view_json,
            is_view_cut=read.is_view_cut,
            is_tail_unread=read.is_tail_unread,
            close=read.close,
            media=describe(value_of(fields, b"content-type").decode("latin-1"), body.captured_pieces),
        )


def _path(target: bytes, findings: Findings) -> bytes:
    """The path of a target, also of one in absolute form, whose user and password are in no record."""
    absolute = _match_absolute(target)
    if absolute is None:
        return target
    if b"@" in absolute[1]:
        findings.add("credential", "path")
    return absolute[2] or b"/"


def _fields(head: bytes, fields: Fields) -> NamedFields:
    """Header fields: parsed from a raw HTTP/1 head, or as HTTP/2 brought them."""
    return NamedFields(parse_head(head).fields if head else fields)


def _lower(name: str | None) -> bytes | None:
    return name.lower().encode() if name else None
