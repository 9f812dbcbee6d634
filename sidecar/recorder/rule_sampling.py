"""Rule sampling: whether a record is kept, by what its payloads say. Pure.

The relay can't know these facts; it has kept the call by its rate. A rule's rate thins what the relay kept,
on the same hash, so that every sidecar that a request passes decides alike. Only calls that were kept by the
relay's rate are thinned: failures, slow calls and segments of long ones stay.
"""

from collections.abc import Sequence

from infertap import v1
from sidecar.config import SampleRule
from sidecar.exchange import Exchange, Reason
from sidecar.sample_hash import HASHES, sample_hash


class RuleSampling:
    """Decides by the rules of one sidecar."""

    def __init__(self, rules: Sequence[SampleRule]) -> None:
        self._rules = rules

    def keeps(self, call: Exchange, record: v1.Record) -> bool:
        """Whether to keep `record`; sets its reason and fraction where a rule decides."""
        if not self._rules or call.reason is not Reason.RATE or call.segment or call.is_continued:
            return True
        rule = next((rule for rule in self._rules if _fits(rule, record)), None)
        if rule is None:
            return True
        fraction = call.sampling_fraction * rule.rate
        if sample_hash(call.traceparent, call.request_id) >= int(fraction * HASHES):
            return False
        record.sampling.reason = v1.Sampling.RULE
        record.sampling.fraction = fraction
        return True


def _fits(rule: SampleRule, record: v1.Record) -> bool:
    return all(_says(record, fact, wanted) for fact, wanted in rule.conditions)


def _says(record: v1.Record, fact: str, wanted: str) -> bool:
    model = record.model
    if fact == "input_tokens":
        return model.HasField("input_tokens") and _is_beyond(model.input_tokens, wanted)
    if fact == "output_tokens":
        return model.HasField("output_tokens") and _is_beyond(model.output_tokens, wanted)
    if fact == "finish_reason":
        return any(_is_like(reason, wanted) for reason in model.finish_reasons)
    found = {"model": model.name, "version": model.version, "user": record.caller.user}[fact]
    return bool(found) and _is_like(found, wanted)


def _is_beyond(tokens: int, wanted: str) -> bool:
    bound = int(wanted[1:])
    return tokens > bound if wanted[0] == ">" else tokens < bound


def _is_like(text: str, wanted: str) -> bool:
    return text.startswith(wanted[:-1]) if wanted.endswith("*") else text == wanted
