"""Taps, whatever they are told: law 2, law 4 and the budget after each read; and reads that are joined
tell the same calls.
"""

from collections.abc import Callable

from sidecar.exchange import EndedBy, Exchange, Protocol
from sidecar.tap import Refused
from tests.fuzz.reads import Read, joined, read_reads
from tests.oracles.byte_law import assert_only_fields_added, assert_only_lines_added
from tests.oracles.http2 import PREFACE
from tests.sidecar.tap.conftest import Rig


def http1(data: bytes) -> None:
    """A connection of any bytes; what may be added are header lines."""
    _follow(data, b"", assert_only_lines_added)


def http2(data: bytes) -> None:
    """A connection that begins with the preface; what may be added are literals in header blocks."""
    _follow(data, PREFACE, assert_only_fields_added)


_SETTINGS = ({}, {"ambiguous_framing": "reject"}, {"unrecordable": "refuse"})
# What a connection may keep outside the capture budget.
_MOST_WEIGHT = 8 << 20
_TICK_NS = 400_000_000_000  # longer than a segment


def _follow(data: bytes, start: bytes, check: Callable[..., int]) -> None:
    """The first byte chooses settings and ending; an empty read is a tick or, of the model, a drain."""
    chosen, reads = sum(data[:1]), read_reads(data[1:])
    once = _Connection(chosen).run(start, reads, check)
    if all(read for _, read in reads) and chosen % 3 == 0:
        assert _Connection(chosen).run(start, joined(reads), check) == once


class _Connection:
    """One connection through a tap, with the laws held after each step."""

    def __init__(self, chosen: int) -> None:
        self.rig = Rig(sample_error_max_per_second="off", **_SETTINGS[chosen % 3])
        self.tap = self.rig.tap()
        self.may_refuse = chosen % 3 > 0
        self.ending = chosen // 3 % 4
        self.now = 1
        self.came = [b"", b""]
        self.went = [b"", b""]
        self.is_refused = self.is_draining = False

    def run(self, start: bytes, reads: list[Read], check: Callable[..., int]) -> list[tuple[object, ...]]:
        """What the calls on record were."""
        for from_model, read in [(False, start), *reads] if start else reads:
            if not self.is_refused:
                self._step(from_model, read)
                self._hold_laws()
        if not self.is_refused:
            self._end()
        self._check(check)
        self.tap.lost(EndedBy.CLIENT if self.ending == 1 else EndedBy.MODEL_ABORTED, self.now)
        assert self.rig.row["open"] == 0
        self.rig.check_balance()
        return [_essence(call) for call in self.rig.kept]

    def _step(self, from_model: bool, read: bytes) -> None:
        self.now += 1
        self.came[from_model] += read
        try:
            if read:
                take = self.tap.from_model if from_model else self.tap.from_client
                self.went[from_model] += take(read, self.now)
            elif from_model:
                self.is_draining = True
                self.went[1] += self.tap.drain(self.now)
            else:
                self.now += _TICK_NS
                self.tap.tick(self.now)
        except Refused as refused:
            self.is_refused = True
            self.went[from_model] += refused.onward

    def _end(self) -> None:
        """Both ends, or a budget of the relay that is exceeded, or nothing but the loss that follows."""
        try:
            if self.ending == 3:
                held = self.tap.give_up("slow", self.now)
                self.went = [self.went[0] + held[0], self.went[1] + held[1]]
            elif self.ending:
                self.went[0] += self.tap.client_ended(self.now)
                self.went[1] += self.tap.model_ended(self.now)
        except Refused:
            self.is_refused = True
        else:
            assert not self.ending or self.tap.client_held == self.tap.model_held == b""

    def _hold_laws(self) -> None:
        self.rig.check_balance()
        assert 0 <= self.tap.weight <= _MOST_WEIGHT
        is_holding = bool(self.tap.client_held or self.tap.model_held)
        assert is_holding or self.tap.held_since < 0
        if self.tap.is_idle:
            assert not is_holding
            assert self.rig.row["open"] == 0

    def _check(self, check: Callable[..., int]) -> None:
        held = (b"", b"") if self.is_refused else (self.tap.client_held, self.tap.model_held)
        for side in range(2):
            may_close = self.is_draining and side == 1
            # What is refused waits for the answers to what was asked before it, and is not passed on.
            may_end = self.is_refused or self.may_refuse
            check(self.came[side], self.went[side] + held[side], may_end=may_end, may_close=may_close)


def _essence(call: Exchange) -> tuple[object, ...]:
    """What does not depend on the reads; an opaque stretch begins where its first read does."""
    if call.protocol is Protocol.OPAQUE:
        return (call.protocol, call.ended_by, list(call.flags))
    return (
        call.protocol,
        call.method,
        call.target,
        call.status,
        call.grpc_status,
        call.request_head,
        call.response_head,
        list(call.request_headers),
        list(call.response_headers),
        list(call.request_trailers),
        list(call.response_trailers),
        b"".join(call.request.captured_pieces),
        b"".join(call.response.captured_pieces),
        call.ended_by,
        list(call.flags),
    )
