"""Bodies: reads one direction's body by what its headers say it is, and redacts it.

Pure but for what WebSocket segments need of each other. What can't be read is withheld; what is beside a
hole, or at the edge of a segment, is left to the redaction's rules for that.
"""

from dataclasses import replace
from typing import Any, Final

from sidecar.exchange import Protocol
from sidecar.recorder.encodings import EncodingError, open_encoding
from sidecar.recorder.json_text import json_text
from sidecar.recorder.payloads import (
    decode_binary,
    decode_grpc,
    frame,
    is_known,
    messages_in_tail,
    open_messages,
    read_web_frames,
    walk_messages,
)
from sidecar.recorder.read_body import Fields, NamedFields, ReadBody, WireSide
from sidecar.recorder.redaction import Ends, Findings, RedactedBody, Redactor, Stretch, Withheld
from sidecar.recorder.rests import Rests, rest_of_events, rest_of_lines, rest_of_messages
from sidecar.recorder.schemas import Schemas
from sidecar.recorder.websocket_bodies import WebSocketBodies

# What a body may become when its content encoding is opened.
_OPENED_MOST: Final = 16 << 20
_GRPC_TYPE: Final = "application/grpc"
_UNIMPLEMENTED: Final = 12
# What a stream of that type ends with that is not finished.
_UNFINISHED: Final = {
    "text/event-stream": rest_of_events,
    "application/x-ndjson": rest_of_lines,
    "application/ndjson": rest_of_lines,
    "application/jsonl": rest_of_lines,
}


class Bodies:
    """Reads bodies by one policy."""

    def __init__(self, redactor: Redactor, body_limit_bytes: int, schemas: Schemas) -> None:
        self._redactor = redactor
        self._schemas = schemas
        self._opened_most = min(_OPENED_MOST, max(body_limit_bytes, 1 << 20) * 8)
        self._rests = Rests()
        self._websockets = WebSocketBodies(redactor, self._opened_most)

    def read(self, side: WireSide, findings: Findings) -> ReadBody:
        """The body of one direction, redacted."""
        if side.call.protocol is Protocol.WEBSOCKET:
            return self._websockets.read(side, findings)
        if side.call.segment:
            side = replace(side, rest=self._rests.take(side))
        head, tail = side.parts()
        if not head and not tail:
            if side.goes_on and not side.is_cut:  # it begins with the next segment's first byte
                self._rests.keep(side, b"")
            return ReadBody(RedactedBody())
        if side.call.protocol is Protocol.GRPC:
            return self._grpc(side, head, tail, findings)
        encoding = value_of(side.fields, b"content-encoding")
        if encoding:
            return self._encoded(side, encoding, head, bool(tail), findings)
        return self._plain(side, head, tail, side.is_cut, findings)

    def _encoded(
        self, side: WireSide, encoding: bytes, data: bytes, has_tail: bool, findings: Findings
    ) -> ReadBody:
        """Only a coding's beginning can be opened: no tail, and no segment but the first."""
        if side.call.segment:
            return ReadBody(RedactedBody(withheld=Withheld.UNREADABLE))
        try:
            opened = open_encoding(encoding.decode("latin-1"), data, self._opened_most)
        except EncodingError:
            return ReadBody(RedactedBody(withheld=Withheld.UNREADABLE))
        # A stream that was broken off lacks its coding's end too: that alone cuts nothing in two.
        is_cut = side.is_cut or len(opened.data) >= self._opened_most
        return replace(self._plain(side, opened.data, b"", is_cut, findings), is_tail_unread=has_tail)

    def _plain(self, side: WireSide, head: bytes, tail: bytes, is_cut: bool, findings: Findings) -> ReadBody:
        content_type = value_of(side.fields, b"content-type").decode("latin-1")
        if is_web(content_type):
            return self._grpc_web(side, "-text" in content_type, head, findings)
        json_bytes = value_of(side.fields, b"inference-header-content-length")
        if json_bytes:
            return self._binary(content_type, json_bytes, head, findings)
        goes_on = side.goes_on
        if not is_cut and not goes_on and not side.call.segment:  # as most are
            return ReadBody(self._redactor.body(content_type, head, findings))
        unfinished = _UNFINISHED.get(content_type.partition(";")[0].strip().lower())
        if goes_on and unfinished is not None:
            self._rests.keep(side, unfinished(tail or head))
        ends = Ends(side.call.segment > 0, is_cut or goes_on, side.rest is not None)
        stretch = Stretch(head, ends, tail, Ends(True, goes_on))
        return ReadBody(self._redactor.body(content_type, stretch, findings), is_cut=is_cut)

    # -- gRPC

    def _grpc(self, side: WireSide, head: bytes, tail: bytes, findings: Findings) -> ReadBody:
        """Messages of a known service are decoded; their bytes are kept where nothing in them was masked."""
        if side.goes_on and not side.is_cut:
            self._rests.keep(side, rest_of_messages(head))
        if side.ends.opens and not side.ends.is_aligned:  # perhaps from within a message
            head = messages_in_tail(head)
            if not head:
                return ReadBody(RedactedBody(withheld=Withheld.UNREADABLE))
        read = self._messages(side, head, side.ends, findings)
        late = messages_in_tail(tail) if read.body.withheld in (None, Withheld.VIEW_ONLY) else b""
        if not late:
            return replace(read, is_tail_unread=bool(tail))
        behind = self._messages(side, late, Ends(True, side.goes_on), findings)
        documents = read.body.documents + behind.body.documents
        body = RedactedBody(
            documents=documents, withheld=Withheld.VIEW_ONLY, tail_offset=len(read.body.documents)
        )
        return ReadBody(body, json_text(documents), is_view_cut=True)

    def _messages(self, side: WireSide, data: bytes, ends: Ends, findings: Findings) -> ReadBody:
        encoding = value_of(side.fields, b"grpc-encoding").decode("latin-1")
        path = side.call.target.partition(b"?")[0].decode("latin-1")
        types = None
        if not is_known(path):
            types = self._schemas.types(side.call.route, path, side.call.grpc_status != _UNIMPLEMENTED)
            if types is None:
                return self._walked(encoding, data, ends, findings)
        decoded = decode_grpc(path, side.is_request, encoding, data, self._opened_most, types)
        if decoded is None:
            if types is not None:  # the model may have another schema by now
                return self._walked(encoding, data, ends, findings)
            return ReadBody(self._redactor.opaque(_GRPC_TYPE, data))
        before = findings.total
        documents = self._redactor.documents(decoded.documents, findings, ends)
        if isinstance(documents, Withheld):
            return ReadBody(RedactedBody(withheld=documents))
        is_clean = findings.total == before and not ends and not self._redactor.policy.fields
        kept = decoded.data if is_clean else b""
        withheld = None if kept or not documents else Withheld.VIEW_ONLY
        return ReadBody(RedactedBody(kept, documents, withheld), _view(documents), decoded.is_cut)

    def _walked(self, encoding: str, data: bytes, ends: Ends, findings: Findings) -> ReadBody:
        """Messages without a schema: shown by field numbers, kept as encoded anew from what was redacted."""
        opened = open_messages(encoding, data, self._opened_most)
        walk = walk_messages(opened.messages) if opened is not None else None
        if opened is None or walk is None:
            return ReadBody(self._redactor.opaque(_GRPC_TYPE, data))
        documents = self._redactor.documents(walk.documents(), findings, ends)
        if isinstance(documents, Withheld):
            return ReadBody(RedactedBody(withheld=documents))
        written = walk.write(documents, self._redactor.policy.opaque_action(_GRPC_TYPE) == "keep")
        doubts = Findings()
        for text in written.second_readings:
            self._redactor.text(text, "body", doubts)
        if doubts.total:  # something is found in them, if they are read otherwise
            return ReadBody(RedactedBody(withheld=Withheld.UNREADABLE))
        kept = b"" if ends else b"".join(map(frame, written.messages or ()))
        withheld = None if kept or not documents else Withheld.VIEW_ONLY
        return ReadBody(RedactedBody(kept, documents, withheld), _view(documents), opened.is_cut)

    def _grpc_web(self, side: WireSide, is_text: bool, data: bytes, findings: Findings) -> ReadBody:
        """The same messages, and the trailers as a last frame."""
        frames = None if side.call.segment else read_web_frames(data, is_text)
        if frames is None:
            return ReadBody(RedactedBody(withheld=Withheld.UNREADABLE))
        read = self._messages(side, frames.messages, side.ends, findings)
        return replace(
            read, grpc_status=frames.status, grpc_message=frames.message, grpc_details=frames.details
        )

    # -- binary tensors

    def _binary(self, content_type: str, json_bytes: bytes, data: bytes, findings: Findings) -> ReadBody:
        """Binary tensors are kept as the JSON body that says the same."""
        decoded = decode_binary(json_bytes, data)
        if decoded is None:
            return ReadBody(self._redactor.opaque(content_type, data))
        documents = self._redactor.documents(decoded.documents, findings)
        if isinstance(documents, Withheld):
            return ReadBody(RedactedBody(withheld=documents))
        return ReadBody(RedactedBody(_view(documents).encode(), documents), "", decoded.is_cut)


def is_web(content_type: str) -> bool:
    """Whether a body of that type is gRPC-Web."""
    return content_type.lower().startswith("application/grpc-web")


def value_of(fields: Fields, wanted: bytes | None) -> bytes:
    """The value of the first field of that name (lower case); empty where there is none."""
    if isinstance(fields, NamedFields):
        return fields.first.get(wanted or b"", b"")
    if wanted:
        for name, value in fields:
            if len(name) == len(wanted) and name.lower() == wanted:
                return value
    return b""


def _view(documents: tuple[Any, ...]) -> str:
    """One message as its document, several as a list."""
    return json_text(documents[0] if len(documents) == 1 else documents)
