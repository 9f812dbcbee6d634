"""Conversion: an exchange in, an encoded record out. The recorder's pipeline between receiving and appending.

Pure: time is an argument. It promises: whatever the exchange holds, a record comes out that is at most
RECORD_BYTES and holds nothing raw; where a step fails, the record holds no text of the wire.
"""

from dataclasses import dataclass
from typing import Final

from infertap import v1
from sidecar.config import Settings
from sidecar.exchange import Exchange
from sidecar.in_flight import CallInFlight
from sidecar.recorder.asked import Asked
from sidecar.recorder.call_id import CallIds, text_of
from sidecar.recorder.policy import policy_of
from sidecar.recorder.redacted_call import CallRedaction
from sidecar.recorder.redaction import Redactor
from sidecar.recorder.rule_sampling import RuleSampling
from sidecar.recorder.schemas import Schemas
from sidecar.recorder.shrinking import encode
from sidecar.recorder.to_record import RecordMaker
from sidecar.recorder.understanding import Understanding

FAILED: Final = "CONVERSION_FAILED"
# What a call in flight may weigh: ten thousand of them are kept in memory.
IN_FLIGHT_BYTES: Final = 16 << 10


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

    def __init__(
        self, settings: Settings, hash_key: bytes | None, run_id: bytes, schemas: Schemas | None = None
    ) -> None:
        """Raises ValueError where a rule of the settings can't be read, RulesFileError for the own ones.

        `schemas` of gRPC services that no reader knows; without them such messages are read without schema.
        """
        policy = policy_of(settings, hash_key)
        self._ids = CallIds(run_id)
        self._redaction = CallRedaction(settings, Redactor(policy), schemas or Schemas())
        self._understanding = Understanding(policy)
        self._maker = RecordMaker(settings, policy.version)
        self._asked = Asked()
        self._rules = RuleSampling(settings.sample_rules)

    def convert(self, slot: int, call: Exchange, recorded_at_ns: int) -> Converted | None:
        """The record of `call` of that relay slot; None where a rule on what it says does not keep it.

        `recorded_at_ns` is the time now, since the epoch.
        """
        call_id = self._ids.of(slot, call.call_number, call.started_wall_ns)
        try:
            redacted = self._redaction.redact(call, call_id)
            understood = self._understanding.of(redacted, call.status)
            redacted = understood.call
            record = self._maker.whole(call_id, call, redacted, understood.view, recorded_at_ns)
            if not self._rules.keeps(call, record):
                return None
            self._asked.go_on(call_id, record)
            encoded = encode(record)
        except Exception:  # law 3: whatever it was, nothing raw goes on
            return Converted(call_id, self._bare(call_id, call, recorded_at_ns), 0, 2)
        sides = (redacted.request, redacted.response)
        return Converted(
            call_id,
            encoded,
            sum(side.findings.total for side in sides),
            sum(side.body.withheld is not None for side in sides),
        )

    def in_flight(self, slot: int, call: Exchange) -> CallInFlight:
        """What can be told of `call`, which has not ended and whose bodies are not here."""
        call_id = self._ids.of(slot, call.call_number, call.started_wall_ns)
        try:
            record = self._whole_in_flight(call_id, call)
            encoded = encode(_open(record), IN_FLIGHT_BYTES)
        except Exception:  # law 3: whatever it was, nothing raw goes on
            record = v1.Record.FromString(self._bare(call_id, call, 0))
            encoded = encode(_open(record), IN_FLIGHT_BYTES)
        return CallInFlight(call_id, call.started, encoded)

    def _whole_in_flight(self, call_id: bytes, call: Exchange) -> v1.Record:
        understood = self._understanding.of(self._redaction.redact(call), call.status)
        return self._maker.whole(call_id, call, understood.call, understood.view, 0)

    def _bare(self, call_id: bytes, call: Exchange, recorded_at_ns: int) -> bytes:
        try:
            record = self._maker.bare(call_id, call, recorded_at_ns)
        except (ValueError, TypeError, OverflowError):  # numbers that no record can hold
            record = v1.Record(call_id=text_of(call_id))
        record.logging_error_codes.append(FAILED)
        return bytes(record.SerializeToString())


def _open(record: v1.Record) -> v1.Record:
    """`record` less what only the end of a call tells."""
    record.state = v1.INFERENCING
    record.ended_by = v1.EndedBy.ENDED_BY_UNSPECIFIED
    record.timing.ClearField("end")
    record.timing.ClearField("recorded_at")
    record.ClearField("sampling")
    return record
