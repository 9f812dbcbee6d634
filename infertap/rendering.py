"""Rendering: records as a person reads them in a terminal. Pure.

Whatever a record holds came from outside: control characters, and those that turn the direction of writing,
are shown as their code points and never reach the terminal.
"""

import json
import unicodedata
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from infertap import v1
from infertap.names import name_of

# Title and width; the last one is as wide as it needs.
_COLUMNS: Final = (
    ("#", 6),
    ("start", 29),
    ("model", 16),
    ("call", 34),
    ("status", 12),
    ("duration", 10),
    ("first byte", 10),
    ("state", 11),
    ("kept by", 0),
)
_BODY_MOST: Final = 4000
_ERROR_MOST: Final = 1000


def visible(text: str, keep: str = "") -> str:
    """`text` with control and direction characters as code points, but for those in `keep`."""
    return "".join(
        char
        if char in keep or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else f"\\u{ord(char):04x}"
        for char in text
    )


class Table:
    """A table that grows row by row; its head comes with the first."""

    def __init__(self) -> None:
        self.is_empty = True

    def row(self, record: v1.Record) -> str:
        """The next line, or two with the head."""
        cells = (
            _number(record),
            local_time(record.timing.start),
            visible(record.model.name) or "-",
            visible(f"{record.method} {record.path}"),
            status(record),
            duration(record.timing.duration_us),
            duration(record.timing.first_response_byte_us),
            name_of(v1.State, record.state),
            _remark(record),
        )
        head = _line([title for title, _ in _COLUMNS]) + "\n" if self.is_empty else ""
        self.is_empty = False
        return head + _line(cells)


def _line(cells: "tuple[str, ...] | list[str]") -> str:
    return "  ".join(_fit(cell, width) for cell, (_, width) in zip(cells, _COLUMNS, strict=True)).rstrip()


def _fit(cell: str, width: int) -> str:
    if not width:
        return cell
    return cell.ljust(width) if len(cell) <= width else cell[: width - 1] + "…"


def counted(number: int, what: str) -> str:
    """So many of something, as one says it: "1 spool", "1,200 spools"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def local_time(timestamp: Timestamp) -> str:
    """To the millisecond, with the zone's offset."""
    moment = datetime.fromtimestamp(timestamp.seconds).astimezone()
    offset = moment.strftime("%z")
    return f"{moment:%Y-%m-%d %H:%M:%S}.{timestamp.nanos // 1_000_000:03d}{offset[:3]}:{offset[3:]}"


def duration(microseconds: int) -> str:
    """In the unit that reads best; a dash for what did not happen."""
    if microseconds < 0:
        return "-"
    if microseconds < 1000:
        return f"{microseconds} us"
    return f"{microseconds / 1000:.1f} ms" if microseconds < 1_000_000 else f"{microseconds / 1e6:.2f} s"


def status(record: v1.Record) -> str:
    """HTTP status, or the gRPC one."""
    if record.HasField("grpc_status"):
        return f"gRPC {record.grpc_status}"
    return str(record.http_status) if record.http_status else "-"


def _number(record: v1.Record) -> str:
    """Its serial number; a dash for a call that has no record yet, or never will."""
    return str(record.sequence) if record.sequence else "-"


def _remark(record: v1.Record) -> str:
    """Why it was kept; of a call that has no record, how far it has come, or what became of it."""
    if record.sequence:
        return kept_by(record)
    if record.state == v1.INFERENCING:
        return f"in flight: {record.request.size_bytes} bytes asked, {record.response.size_bytes} answered"
    return visible(", ".join(record.logging_error_codes)).lower().replace("_", " ")


def kept_by(record: v1.Record) -> str:
    """Why it was kept, and the share of such calls that is."""
    reason = name_of(v1.Sampling.Reason, record.sampling.reason)
    return reason if record.sampling.fraction in (0, 1) else f"{reason} {record.sampling.fraction:.3g}"


def in_full(record: v1.Record) -> str:
    """One record: what happened, and of both sides the headers, the redactions and the body."""
    lines = [f"{name:<14}{value}" for name, value in _facts(record) if value]
    for each in record.feedback:
        said = "; ".join(feedback_lines(each))
        lines.append(f"{'feedback':<14}{local_time(each.time)}  {visible(said[:_ERROR_MOST])}")
    for title, payload in (("request", record.request), ("response", record.response)):
        lines += ["", *_payload(title, payload)]
    return "\n".join(lines)


def _facts(record: v1.Record) -> list[tuple[str, str]]:
    return [*_course(record), *_model(record.model), *_whence(record)]


def _course(record: v1.Record) -> list[tuple[str, str]]:
    timing = record.timing
    return [
        ("serial number", f"{_number(record)} of spool {record.spool_id.hex()}"),
        ("call", visible(record.call_id)),
        ("request id", visible(record.request_id)),
        ("client's id", visible(record.client_request_id)),
        ("model's id", visible(record.model_request_id)),
        ("id in body", visible(record.payload_id)),
        ("trace", visible(f"{record.trace_id} {record.span_id}").strip()),
        ("start", local_time(timing.start)),
        (
            "duration",
            f"{duration(timing.duration_us)}, first byte after {duration(timing.first_response_byte_us)}",
        ),
        (
            "gaps",
            f"mean {duration(timing.mean_gap_us)}, worst {duration(timing.worst_gap_us)}"
            if timing.mean_gap_us
            else "",
        ),
        ("within", _timings(timing)),
        ("phases", ", ".join(_phase(each) for each in timing.phases)),
        ("segments", segments(record)),
        ("call to", visible(f"{record.method} {record.path}" + (f"?{record.query}" if record.query else ""))),
        ("status", visible(f"{status(record)} {record.grpc_message}").strip()),
        ("state", f"{name_of(v1.State, record.state)}{_ended_by(record)}"),
        ("error", visible(" ".join(filter(None, (record.error.type, record.error.message)))[:_ERROR_MOST])),
        (
            "closed by",
            visible(f"{record.close_code} {record.close_reason}".rstrip()) if record.close_code else "",
        ),
        ("protocol", name_of(v1.Protocol, record.protocol).upper()),
    ]


def _model(model: v1.Model) -> list[tuple[str, str]]:
    return [
        ("model", visible(f"{model.name} {model.version}").strip()),
        ("interface", visible(f"{model.api} {model.operation}").strip()),
        ("parameters", visible(model.parameters_json)),
        ("tokens", _tokens(model)),
        ("finished by", visible(", ".join(model.finish_reasons))),
        ("inputs", "; ".join(_tensor(each) for each in model.inputs)),
        ("outputs", "; ".join(_tensor(each) for each in model.outputs)),
    ]


def _tokens(model: v1.Model) -> str:
    """Those that were reported."""
    counts = (
        ("input_tokens", "in"),
        ("output_tokens", "out"),
        ("cached_input_tokens", "from a cache"),
        ("reasoning_tokens", "for reasoning"),
    )
    return ", ".join(f"{getattr(model, name)} {what}" for name, what in counts if model.HasField(name))  # type: ignore[arg-type]


def _whence(record: v1.Record) -> list[tuple[str, str]]:
    return [
        ("user", visible(record.caller.user)),
        ("session", visible(record.caller.session)),
        ("address", visible(record.caller.address)),
        ("cohort", visible(record.cohort)),
        ("application", visible(record.application_version)),
        ("intent", visible(record.intent)),
        ("tags", visible(", ".join(record.tags))),
        ("context", visible(", ".join(f"{name}={value}" for name, value in sorted(record.context.items())))),
        ("kept by", kept_by(record) if record.sampling.reason else ""),
        ("recorded at", _source(record.source)),
        ("not as asked", visible(", ".join(record.logging_error_codes))),
    ]


def segments(record: v1.Record) -> str:
    """Of a call that lasted: how many parts of its record are here; empty for others."""
    if not record.segments_joined:
        return ""
    missing = f", {record.segments_missing} missing" if record.segments_missing else ""
    return f"{record.segments_joined} joined{missing}{', it goes on' if record.is_continued else ''}"


def _timings(timing: v1.Timing) -> str:
    """What happened on the way, in its order as a rule."""
    said = []
    if timing.HasField("accepted_us"):
        said.append(f"accepted {duration(-timing.accepted_us)} before")
    for what, offset in (
        ("model connected", timing.upstream_connected_us),
        ("request complete", timing.request_complete_us),
    ):
        if offset >= 0:
            said.append(f"{what} after {duration(offset)}")
    if timing.relay_wait_us:
        said.append(f"waited {duration(timing.relay_wait_us)} in the relay")
    if timing.HasField("grpc_timeout_us"):
        said.append(f"caller's timeout {duration(timing.grpc_timeout_us)}")
    return ", ".join(said)


def _phase(phase: v1.Phase) -> str:
    """One of the model's own; its duration where one was said."""
    took = f" {duration(phase.duration_us)}" if phase.duration_us else ""
    return visible(f"{phase.name}{took}" + (f" ({phase.description})" if phase.description else ""))


def _source(source: v1.Source) -> str:
    where = "/".join(filter(None, (source.node, source.namespace, source.pod, source.container)))
    made_by = f"infertap {source.infertap_version}, policy {source.policy_version}"
    return visible(f"{where} by {made_by}".strip() if where else made_by)


def _ended_by(record: v1.Record) -> str:
    if not record.ended_by:
        return ""
    return f", ended by {name_of(v1.EndedBy, record.ended_by).replace('_', ' ')}"


def _tensor(tensor: v1.Tensor) -> str:
    return visible(f"{tensor.name} {tensor.datatype}[{', '.join(map(str, tensor.shape))}]")


def _payload(title: str, payload: v1.Payload) -> list[str]:
    cut = ", cut" if payload.truncated else ""
    lines = [f"{title}: {payload.size_bytes} bytes {visible(payload.content_type)}{cut}".rstrip()]
    for each in payload.redactions:
        kind = visible(getattr(each, "class"))
        lines.append(f"  redacted: {kind} x {each.count} in {visible(each.field)}")
    lines += [
        f"  {visible(each.name)}: {visible(each.value)}" for each in (*payload.headers, *payload.trailers)
    ]
    if payload.HasField("media"):
        lines.append(f"  {_media(payload.media)}")
    if payload.piece_count > 1:
        lines.append(f"  pieces: {payload.piece_count}")
    text = _body(payload)
    if text:
        lines += [f"  {line}" for line in text.splitlines()]
    elif payload.digest:
        lines.append(f"  kept as a digest: {visible(payload.digest)}")
    return lines


def _media(media: v1.Media) -> str:
    """What an image or sound is."""
    said = [visible(media.format)]
    said += [f"{media.width} x {media.height} pixels"] if media.width else []
    said += [f"{media.channels} channels"] if media.channels else []
    said += [f"{media.sample_rate} samples a second"] if media.sample_rate else []
    said += [duration(media.duration_ms * 1000)] if media.duration_ms else []
    return ", ".join(said)


def _body(payload: v1.Payload) -> str:
    text = payload.decoded_json or payload.data.decode("utf-8", "replace")
    try:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = text.replace("\r\n", "\n")
    shown = visible(text[:_BODY_MOST], keep="\n\t")
    return shown if len(text) <= _BODY_MOST else f"{shown}\n… {len(text) - _BODY_MOST} more characters"


def feedback_lines(given: v1.Feedback) -> list[str]:
    """What feedback says, thing by thing; as it came, so to be made visible."""
    said = [f"rating {given.rating:g}"] if given.HasField("rating") else []
    said += [f"thumb {name_of(v1.Thumb, given.thumb).removeprefix('thumb_')}"] if given.thumb else []
    said += [f"labels {', '.join(given.labels)}"] if given.labels else []
    for event in given.events:
        said.append(f"event {event.name}" + (f" {event.value:g}" if event.HasField("value") else ""))
    for name in ("comment", "correction"):
        said += [f"{name}: {getattr(given, name)}"] if getattr(given, name) else []
    said += [f"ground truth: {given.ground_truth_json}"] if given.ground_truth_json else []
    said += [f"{name} withheld" for name in given.withheld]
    return said
