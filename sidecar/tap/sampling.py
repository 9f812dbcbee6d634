"""Sampling: whether a call is kept, decided at its end, and with which fraction it stands for the others.

Pure. The decision is a function of the trace id (of the request id, where there is no valid traceparent), so
that every sidecar that a request passes decides alike. Failed calls have a rate and a cap of their own; slow
ones are always kept. The recorded fraction is the probability with which a call like this one was kept at
that moment, so that sums over records divided by their fractions estimate the totals.

A cap works by thinning: the share `cap / calls offered in the last second` is applied on the same hash, so
that what is kept is spread over the second and alike everywhere; beyond it a count stops what a sudden rise
lets through.
"""

from dataclasses import dataclass
from typing import Final

from sidecar.exchange import EndedBy, Exchange, Protocol, Reason
from sidecar.protocols import stream_has_failed
from sidecar.sample_hash import HASHES, sample_hash
from sidecar.tap.capture import last_bytes

# The mark of a call that the settings refuse: it failed, whatever became of it.
REFUSED: Final = "refused"

# How much of a stream's end is looked at: its last events.
_LAST_EVENTS_BYTES: Final = 4 << 10
_SECOND: Final = 1_000_000_000
# Looked up once: an enum's attributes are slow.
_BY_MODEL: Final = EndedBy.MODEL
_GRPC: Final = Protocol.GRPC
_RATE: Final = Reason.RATE
_NOT_KEPT: Final = Reason.NOT_KEPT
_UNANSWERED: Final = (Protocol.OPAQUE, Protocol.WEBSOCKET)


@dataclass(frozen=True, slots=True)
class SamplingRules:
    """What is kept. Rates are shares from 0 to 1, caps are calls per second of one relay, None for none."""

    rate: float = 1.0
    error_rate: float = 1.0
    error_max_per_second: float | None = 100.0
    slow_ms: float | None = None
    max_per_second: float | None = None
    failed_statuses: frozenset[int] = frozenset(range(400, 600))


class Sampling:
    """Decides call by call; remembers only what the caps need."""

    def __init__(self, rules: SamplingRules) -> None:
        self._failed_statuses = rules.failed_statuses
        self._slow_ns = None if rules.slow_ms is None else int(rules.slow_ms * 1_000_000)
        self._good = _Share(rules.rate, rules.max_per_second)
        self._failed = _Share(rules.error_rate, rules.error_max_per_second)
        self._keeps_all_good = rules.rate == 1 and rules.max_per_second is None and rules.slow_ms is None

    def keeps(self, call: Exchange) -> bool:
        """Whether to keep `call`, which has ended; sets its reason and fraction.

        Of a call in segments the first decides: all are kept, or none but a last one that failed.
        """
        if self.has_failed(call):
            if call.segment and call.reason is not _NOT_KEPT:
                return True
            share, reason = self._failed, Reason.ERROR
        elif self._keeps_all_good:
            call.reason = _RATE
            return True
        elif call.segment:
            return call.reason is not _NOT_KEPT
        else:
            share, reason = self._good, _RATE
        is_kept = share.admits(call)
        if self._slow_ns is not None and call.ended - call.started > self._slow_ns:
            # All of them are kept, so each stands for itself alone.
            call.sampling_fraction = 1.0
            call.reason = Reason.ERROR if is_kept and reason is Reason.ERROR else Reason.SLOW
            return True
        if is_kept:
            call.reason = reason
        return is_kept

    def has_failed(self, call: Exchange) -> bool:
        """Whether `call` counts as failed: by its HTTP or gRPC status, an end that was not the model's, or a
        stream of events that ended with an error or too soon.

        A reset after a complete answer fails only with an error code (RFC 9113, section 8.1).
        """
        if call.ended_by is not _BY_MODEL:
            # A segment goes on; an opaque connection has no answer that our own closing could cut.
            by = call.ended_by
            is_cut = by is not EndedBy.OPEN and not (call.protocol in _UNANSWERED and by is EndedBy.RELAY)
            return is_cut or REFUSED in call.flags
        if call.protocol is _GRPC:
            return call.grpc_status != 0  # a missing status, -1, is a failure too
        if call.response_is_events and stream_has_failed(last_bytes(call.response, _LAST_EVENTS_BYTES)):
            return True
        return call.status in self._failed_statuses or call.grpc_status > 0 or call.reset_code > 0


class _Share:
    """A rate with a cap per second; time is the end of the calls it is asked about."""

    __slots__ = ("_cap", "_kept", "_offered", "_offered_before", "_rate", "_second", "_threshold")

    def __init__(self, rate: float, cap: float | None) -> None:
        self._rate = rate
        self._threshold = int(rate * HASHES)
        self._cap = cap
        # The current second; calls within the rate in it and in the one before; calls kept in it.
        self._second = 0
        self._offered = self._offered_before = self._kept = 0

    def admits(self, call: Exchange) -> bool:
        """Whether `call` is among those kept; sets its fraction."""
        if self._rate < 1:
            threshold = self._threshold
            if not threshold or sample_hash(call.traceparent, call.request_id) >= threshold:
                return False
            call.sampling_fraction = self._rate
        return self._cap is None or self._is_within_cap(call, self._cap)

    def _is_within_cap(self, call: Exchange, cap: float) -> bool:
        second = call.ended // _SECOND
        if second > self._second:
            self._offered_before = self._offered if second == self._second + 1 else 0
            self._second = second
            self._offered = self._kept = 0
        self._offered += 1
        expected = max(self._offered, self._offered_before)
        if expected > cap:
            fraction = self._rate * cap / expected
            if self._kept >= cap or sample_hash(call.traceparent, call.request_id) >= int(fraction * HASHES):
                return False
            call.sampling_fraction = fraction
        self._kept += 1
        return True
