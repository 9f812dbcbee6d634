"""Shrinking: an encoded record is never larger than RECORD_BYTES, and says so where something was left out.

Pure. What goes is decided by size alone, in a fixed order: first what can be told from the rest, then what
matters least, at last the bodies. The same record always shrinks to the same bytes.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

from infertap import v1

# So that a batch of records fits a gRPC message.
RECORD_BYTES: Final = 3 << 20
TOO_LARGE: Final = "RECORD_TOO_LARGE"
# Both bodies are cut to these, one after the other, until the record fits.
_KEPT_BYTES: Final = (1 << 20, 256 << 10, 16 << 10, 0)
# What a single text may keep where even a record without bodies is too large.
_TEXT: Final = 1 << 10


def encode(record: v1.Record, most: int = RECORD_BYTES) -> bytes:
    """The bytes of `record`, at most so many; `record` is changed where it has to be smaller."""
    encoded = bytes(record.SerializeToString())
    if len(encoded) <= most:
        return encoded
    record.logging_error_codes.append(TOO_LARGE)
    for step in _STEPS:
        step(record)
        encoded = bytes(record.SerializeToString())
        if len(encoded) <= most:
            return encoded
    raise ValueError("a record of ids and numbers alone is too large")


def _drop_views(record: v1.Record) -> None:
    """Bodies say the same. Where only the view is kept, it is the body."""
    for payload in (record.request, record.response):
        if payload.data:
            payload.decoded_json = ""


def _drop_pieces(record: v1.Record) -> None:
    for payload in (record.request, record.response):
        del payload.pieces[:]


def _cut_bodies(most: int) -> Callable[[v1.Record], None]:
    def cut(record: v1.Record) -> None:
        for payload in (record.request, record.response):
            if len(payload.data) > most:
                payload.truncated = True
                _cut_data(payload, most)
                payload.sha256 = sha256(payload.data).digest() if most else b""
            if len(payload.decoded_json) > most:
                payload.truncated = True
                payload.decoded_json = ""  # half of it would be no JSON

    return cut


def _cut_data(payload: v1.Payload, most: int) -> None:
    """Of data with a tail, the beginning of its head and the end of its tail."""
    data = payload.data
    if not payload.HasField("tail_offset"):
        payload.data = data[:most]
        return
    tail = data[payload.tail_offset :][-(most // 4) :] if most else b""
    payload.tail_offset = min(payload.tail_offset, most - len(tail))
    payload.data = data[: payload.tail_offset] + tail


def _keep_essence(record: v1.Record) -> None:
    """Fields of thousands of headers, tensors or parameters."""
    for payload in (record.request, record.response):
        del payload.headers[:], payload.trailers[:], payload.redactions[:]
        payload.content_type = payload.content_type[:_TEXT]
        payload.content_encoding = payload.content_encoding[:_TEXT]
    del record.model.inputs[:], record.model.outputs[:], record.model.finish_reasons[:]
    record.model.parameters_json = ""
    record.context.clear()
    del record.tags[:], record.timing.phases[:]
    texts: list[tuple[Any, tuple[str, ...]]] = [(record, _TEXTS), (record.model, ("name", "version"))]
    if record.HasField("error"):
        record.error.ClearField("stack_trace")
        texts.append((record.error, ("type", "message")))
    for message, names in texts:
        for name in names:
            setattr(message, name, getattr(message, name)[:_TEXT])


_TEXTS: Final = (
    "request_id",
    "client_request_id",
    "model_request_id",
    "payload_id",
    "method",
    "path",
    "query",
    "grpc_message",
)
_STEPS: Final = (_drop_views, _drop_pieces, *map(_cut_bodies, _KEPT_BYTES), _keep_essence)
