"""Redacted call: an exchange with everything in it redacted. After this step nothing raw is left.

Pure. `redact_call` is the pipeline's redaction stage; a call that it can't redact raises, and the caller then
keeps only what holds no text of the wire.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.config import Settings
from sidecar.exchange import Body, Exchange, Protocol
from sidecar.protocols import decode_status_message, parse_head
from sidecar.recorder.encodings import EncodingError, open_encoding
from sidecar.recorder.json_text import json_text
from sidecar.recorder.payloads import Side, decode_binary, decode_grpc
from sidecar.recorder.redaction import Ends, Findings, RedactedBody, Redactor, Stretch, Withheld

Fields = Sequence[tuple[bytes, bytes]]

_USERINFO: Final = re.compile(rb"^([A-Za-z][A-Za-z0-9+.-]*://)[^/@]*@")
# What a body may become when its content encoding is opened.
_OPENED_MOST: Final = 16 << 20


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
    context: dict[str, str]
    request: RedactedSide
    response: RedactedSide


@dataclass(frozen=True, slots=True)
class _ReadBody:
    """A body, and what stands beside it where it is not JSON itself."""

    body: RedactedBody
    view_json: str = ""
    is_view_cut: bool = False
    # Longer than what its content encoding may become.
    is_cut: bool = False


class CallRedaction:
    """Redacts calls by one policy."""

    def __init__(self, settings: Settings, redactor: Redactor) -> None:
        self._redactor = redactor
        self._context_headers = {name.lower().encode(): name.lower() for name in settings.context_headers}
        self._user_header = _lower(settings.user_header)
        self._session_header = _lower(settings.session_header)
        self._opened_most = min(_OPENED_MOST, max(settings.body_limit_bytes, 1 << 20) * 8)

    def redact(self, call: Exchange) -> RedactedCall:
        """`call` with everything redacted."""
        # What is asked counts with the request, what is answered with the response.
        findings, answer_findings = Findings(), Findings()
        redactor = self._redactor
        request_fields = _fields(call.request_head, call.request_headers)
        response_fields = _fields(call.response_head, call.response_headers)
        target, _, query = call.target.partition(b"?")
        path = redactor.raw(_less_userinfo(target, findings), "path", findings)
        return RedactedCall(
            request_id=redactor.raw(call.request_id, "request_id", findings),
            client_request_id=redactor.raw(call.client_request_id, "client_request_id", findings),
            model_request_id=redactor.raw(call.model_request_id, "model_request_id", answer_findings),
            method=redactor.raw(call.method[:32], "method", findings),
            path=path,
            query=redactor.query(query, findings) if query else "",
            grpc_message=redactor.raw(
                decode_status_message(call.grpc_message), "grpc_message", answer_findings
            ),
            user=redactor.keyed_hash(_value(request_fields, self._user_header)),
            session=redactor.keyed_hash(_value(request_fields, self._session_header)),
            address=redactor.keyed_hash(call.client_address.rpartition(":")[0].encode()),
            context=self._context(request_fields, findings),
            request=self._side(call, True, request_fields, findings),
            response=self._side(call, False, response_fields, answer_findings),
        )

    def _context(self, fields: Fields, findings: Findings) -> dict[str, str]:
        if not self._context_headers:
            return {}
        named = [(self._context_headers.get(name.lower()), value) for name, value in fields]
        return {
            name: self._redactor.header(name, value, "context", findings)
            for name, value in named
            if name is not None
        }

    def _side(self, call: Exchange, is_request: bool, fields: Fields, findings: Findings) -> RedactedSide:
        body, trailers = (
            (call.request, call.request_trailers) if is_request else (call.response, call.response_trailers)
        )
        redactor = self._redactor
        read = self._body(call, is_request, fields, body, findings)
        return RedactedSide(
            content_type=redactor.raw(_value(fields, b"content-type"), "content-type", findings),
            content_encoding=redactor.raw(_value(fields, b"content-encoding"), "content-encoding", findings),
            truncated=read.is_cut or body.captured < body.size,
            body=read.body,
            findings=findings,
            headers=redactor.headers(fields, "header", findings),
            trailers=redactor.headers(trailers, "trailer", findings) if trailers else [],
            view_json=read.view_json,
            is_view_cut=read.is_view_cut,
        )

    def _body(
        self, call: Exchange, is_request: bool, fields: Fields, body: Body, findings: Findings
    ) -> _ReadBody:
        data = b"".join(body.captured_pieces)
        if not data:
            return _ReadBody(RedactedBody())
        if call.protocol is Protocol.GRPC:
            return self._grpc(call, is_request, fields, data, findings)
        cut = body.captured < body.size
        encoding = _value(fields, b"content-encoding")
        if encoding:
            try:
                opened = open_encoding(encoding.decode("latin-1"), data, self._opened_most)
            except EncodingError:
                return _ReadBody(RedactedBody(withheld=Withheld.UNREADABLE))
            # A stream that was broken off lacks its coding's end too: that alone cuts nothing in two.
            is_capped = len(opened.data) >= self._opened_most
            data, cut = opened.data, cut or is_capped
        content_type = _value(fields, b"content-type").decode("latin-1")
        json_bytes = _value(fields, b"inference-header-content-length")
        if json_bytes:
            return self._binary(content_type, json_bytes, data, findings)
        return _ReadBody(
            self._redactor.body(content_type, Stretch(data, Ends(closes=cut)), findings), is_cut=cut
        )

    def _grpc(
        self, call: Exchange, is_request: bool, fields: Fields, data: bytes, findings: Findings
    ) -> _ReadBody:
        """Messages of a known service are decoded; their bytes are kept where nothing in them was masked."""
        encoding = _value(fields, b"grpc-encoding").decode("latin-1")
        path = call.target.decode("latin-1")
        decoded = decode_grpc(path, is_request, encoding, data, self._opened_most)
        if decoded is None:
            return _ReadBody(self._redactor.opaque("application/grpc", data))
        before = findings.total
        documents = self._redactor.documents(decoded.documents, findings)
        if documents is None:
            return _ReadBody(RedactedBody(withheld=Withheld.FAILED))
        kept = decoded.data if findings.total == before and not self._redactor.policy.fields else b""
        withheld = None if kept or not documents else Withheld.VIEW_ONLY
        return _ReadBody(RedactedBody(kept, documents, withheld), _view(documents), decoded.is_cut)

    def _binary(self, content_type: str, json_bytes: bytes, data: bytes, findings: Findings) -> _ReadBody:
        """Binary tensors are kept as the JSON body that says the same."""
        decoded = decode_binary(json_bytes, data)
        if decoded is None:
            return _ReadBody(self._redactor.opaque(content_type, data))
        documents = self._redactor.documents(decoded.documents, findings)
        if documents is None:
            return _ReadBody(RedactedBody(withheld=Withheld.FAILED))
        return _ReadBody(RedactedBody(_view(documents).encode(), documents), "", decoded.is_cut)


def _view(documents: tuple[Any, ...]) -> str:
    """One message as its document, several as a list."""
    return json_text(documents[0] if len(documents) == 1 else documents)


def _less_userinfo(target: bytes, findings: Findings) -> bytes:
    """An absolute-form target (RFC 9112, section 3.2.2) without the user and password that it may name."""
    if target.startswith(b"/"):
        return target
    redacted, count = _USERINFO.subn(rb"\1<credential>@", target)
    if count:
        findings.add("credential", "path")
    return redacted


def _fields(head: bytes, fields: Fields) -> Fields:
    """Header fields: parsed from a raw HTTP/1 head, or as HTTP/2 brought them."""
    return parse_head(head).fields if head else fields


def _value(fields: Fields, wanted: bytes | None) -> bytes:
    """The value of the first field of that name (lower case); empty where there is none."""
    if wanted:
        for name, value in fields:
            if len(name) == len(wanted) and name.lower() == wanted:
                return value
    return b""


def _lower(name: str | None) -> bytes | None:
    return name.lower().encode() if name else None
