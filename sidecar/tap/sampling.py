"""Sampling: whether a call is kept, decided at its end, and with which fraction it stands for the others.

Pure. The decision is a function of the trace id (of the request id, where there is no valid traceparent), so that
every sidecar that a request passes decides alike. Failed calls have a rate and a cap of their own; slow ones are
always kept. The recorded fraction is the probability with which a call like this one was kept at that moment, so
that sums over records divided by their fractions estimate the totals.

A cap works by thinning: the share `cap / calls offered in the last second` is applied on the same hash, so that
what is kept is spread over the second and alike everywhere; beyond it a count stops what a sudden rise lets
through.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from sidecar.exchange import EndedBy, Exchange, Protocol, Reason
from sidecar.tap.request_id import trace_id

_SECOND: Final = 1_000_000_000
_HASHES: Final = 1 << 64


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
        self._keeps_all_good = rules.rate == 1 and rules.max_per_second is None

    def keeps(self, call: Exchange) -> bool:
        """Whether to keep `call`, which has ended; sets its reason and fraction."""
        if self.has_failed(call):
            share, reason = self._failed, Reason.ERROR
        elif self._keeps_all_good:
            call.reason = Reason.RATE
            return True
        else:
            share, reason = self._good, Reason.RATE
        if share.admits(call):
            call.reason = reason
            return True
        if self._slow_ns is not None and call.ended - call.started > self._slow_ns:
            call.reason = Reason.SLOW
            call.sampling_fraction = 1.0
            return True
        return False

    def has_failed(self, call: Exchange) -> bool:
        """Whether a call counts as failed: its HTTP or gRPC status, a reset, or an end that was not the model's."""
        raise NotImplementedError


class _Share:
    """A rate with a cap."""

    def __init__(self, rate: float, cap: float | None) -> None:
        raise NotImplementedError

    def admits(self, call: Exchange) -> bool:
        raise NotImplementedError
