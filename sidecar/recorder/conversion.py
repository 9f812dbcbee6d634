"""Conversion: an exchange in, an encoded record out. The recorder's pipeline between receiving and appending.

Pure but for nothing at all: time is an argument. It promises: whatever the exchange holds, a record comes out
that is at most RECORD_BYTES and holds nothing raw; where a step fails, the record holds no text of the wire.
"""

from dataclasses import dataclass
from typing import Final

from infertap import v1
from sidecar.config import Settings
from sidecar.exchange import Exchange
from sidecar.recorder.call_id import CallIds
from sidecar.recorder.redacted_call import CallRedaction
from sidecar.recorder.redaction import Policy, Redactor
from sidecar.recorder.to_record import RecordMaker

# An encoded record is never larger: a batch of them fits a gRPC message.
RECORD_BYTES: Final = 3 << 20
TOO_LARGE: Final = "RECORD_TOO_LARGE"
FAILED: Final = "CONVERSION_FAILED"
# What a body is cut to, step by step, until the record fits.
_KEPT_BYTES: Final = (1 << 20, 256 << 10, 16 << 10, 0)


@dataclass(frozen=True, slots=True)
class Converted:
    """A record, ready for the spool."""

    # 16 bytes.
    call_id: bytes
    # An encoded infertap.v1.Record.
    record: bytes
    # How many values were masked, and how many bodies are not in the record though they were not empty.
    redactions: int
    withheld: int


class Conversion:
    """Converts the calls of one run."""

    def __init__(self, settings: Settings, hash_key: bytes | None, run_id: bytes) -> None:
        """Raises ValueError where a rule of the settings can't be read."""
        policy = Policy.of(settings, hash_key)
        self._ids = CallIds(run_id)
        self._redaction = CallRedaction(settings, Redactor(policy))
        self._maker = RecordMaker(settings, policy.version)

    def convert(self, slot: int, call: Exchange, recorded_at_ns: int) -> Converted:
        """The record of `call` of that relay slot; `recorded_at_ns` is the time now, since the epoch."""
        call_id = self._ids.of(slot, call.call_number, call.started_wall_ns)
        try:
            redacted = self._redaction.redact(call)
            record = self._maker.whole(call_id, call, redacted, recorded_at_ns)
            encoded = _encode(record)
        except Exception:  # law 3: whatever it was, nothing raw goes on
            return Converted(call_id, self._bare(call_id, call, recorded_at_ns), 0, 2)
        sides = (redacted.request, redacted.response)
        return Converted(
            call_id,
            encoded,
            sum(side.findings.total for side in sides),
            sum(side.body.withheld is not None for side in sides),
        )

    def _bare(self, call_id: bytes, call: Exchange, recorded_at_ns: int) -> bytes:
        record = self._maker.bare(call_id, call, recorded_at_ns)
        record.logging_error_codes.append(FAILED)
        return bytes(record.SerializeToString())


def _encode(record: v1.Record) -> bytes:
    encoded = bytes(record.SerializeToString())
    if len(encoded) <= RECORD_BYTES:
        return encoded
    record.logging_error_codes.append(TOO_LARGE)
    for payload in (record.request, record.response):
        payload.decoded_json = ""
        payload.truncated = True
    for most in _KEPT_BYTES:
        for payload in (record.request, record.response):
            payload.data = payload.data[:most]
        encoded = bytes(record.SerializeToString())
        if len(encoded) <= RECORD_BYTES:
            return encoded
    raise ValueError("a record without bodies is too large")
