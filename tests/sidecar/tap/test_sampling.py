"""Sampling: which calls are kept, why, and what fraction they stand for."""

from collections import deque

import pytest

from sidecar.exchange import EndedBy, Exchange, Protocol, Reason
from sidecar.sample_hash import sample_hash
from sidecar.tap import SamplingRules
from sidecar.tap.request_id import RequestIds
from sidecar.tap.sampling import Sampling

SECOND = 1_000_000_000
new_id = RequestIds(lambda size: bytes(range(size))).new


def hash_of(call: Exchange) -> int:
    return sample_hash(call.traceparent, call.request_id)


def ended(status=200, at=SECOND, took=1000, **fields):
    call = Exchange(1, 0, fields.pop("protocol", Protocol.HTTP1), at - took, ended=at, ended_by=EndedBy.MODEL)
    call.status = status
    call.request_id = new_id()
    for name, value in fields.items():
        setattr(call, name, value)
    return call


def test_rate_and_failures():
    """Of 20,000 calls at 0.1, 10 % ± 1 of the good are kept and all failures; two samplers keep the same."""
    rules = SamplingRules(rate=0.1, error_max_per_second=None)
    near, far = Sampling(rules), Sampling(rules)
    good = [ended() for _ in range(20_000)]
    kept = [near.keeps(call) for call in good]
    assert 0.09 <= sum(kept) / len(good) <= 0.11
    assert kept == [far.keeps(call) for call in good]
    assert all(call.sampling_fraction == 0.1 for call, was in zip(good, kept, strict=True) if was)
    assert {call.reason for call in good} == {Reason.NOT_KEPT, Reason.RATE}
    failures = [ended(status=500) for _ in range(1000)]
    assert all(near.keeps(call) for call in failures)
    assert {(call.reason, call.sampling_fraction) for call in failures} == {(Reason.ERROR, 1.0)}


@pytest.mark.parametrize(("rate", "kept"), [(1.0, True), (0.0, False)])
def test_all_or_nothing(rate, kept):
    """At 1 every good call is kept, at 0 none."""
    sampling = Sampling(SamplingRules(rate=rate))
    assert {sampling.keeps(ended()) for _ in range(200)} == {kept}


def test_same_trace_same_decision():
    """Calls of one trace are kept or dropped together, whatever their request ids and parents are."""
    trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-%016x-01"
    calls = [ended(traceparent=trace % number) for number in range(1, 50)]
    assert len({hash_of(call) for call in calls}) == 1
    other = ended(traceparent=b"00-" + b"1" * 32 + b"-00f067aa0ba902b7-01")
    assert hash_of(other) != hash_of(calls[0])


def test_invalid_traceparent_does_not_decide():
    """Without a valid `traceparent` the request id decides."""
    bad = ended(traceparent=b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", request_id=b"x")
    assert hash_of(bad) == hash_of(ended(request_id=b"x"))


@pytest.mark.parametrize(
    ("call", "failed"),
    [
        (ended(200), False),
        (ended(302), False),
        (ended(404), True),
        (ended(503), True),
        (ended(200, ended_by=EndedBy.CLIENT), True),
        (ended(200, ended_by=EndedBy.MODEL_ABORTED), True),
        (ended(200, ended_by=EndedBy.RELAY), True),
        (ended(200, reset_code=0), False),
        (ended(200, reset_code=8), True),
        (ended(200, protocol=Protocol.GRPC, grpc_status=0), False),
        (ended(200, protocol=Protocol.GRPC, grpc_status=3), True),
        (ended(200, protocol=Protocol.GRPC), True),
        (ended(200, protocol=Protocol.HTTP2), False),
        (ended(0, protocol=Protocol.OPAQUE), False),
        (ended(0, protocol=Protocol.OPAQUE, ended_by=EndedBy.RELAY), False),
        (ended(0, protocol=Protocol.OPAQUE, ended_by=EndedBy.CLIENT), True),
    ],
)
def test_failed(call, failed):
    """A call has failed by its status, its gRPC status or the lack of one, a reset, or an early end."""
    assert Sampling(SamplingRules()).has_failed(call) is failed


def test_failed_statuses_are_settable():
    """The settings say which statuses are failures."""
    sampling = Sampling(SamplingRules(failed_statuses=frozenset((429,))))
    assert sampling.has_failed(ended(429))
    assert not sampling.has_failed(ended(500))


def test_slow():
    """Calls slower than the limit are kept whatever the rates say, and stand for themselves."""
    sampling = Sampling(SamplingRules(rate=0, error_rate=0, slow_ms=2))
    slow, failed_and_slow, exact = ended(took=2_000_001), ended(500, took=3_000_000), ended(took=2_000_000)
    assert [sampling.keeps(call) for call in (slow, failed_and_slow, exact)] == [True, True, False]
    assert (slow.reason, slow.sampling_fraction) == (Reason.SLOW, 1.0)
    assert failed_and_slow.reason is Reason.SLOW


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_slow_calls_stand_for_themselves(status, rate):
    """All slow calls are kept, so each has fraction 1, also one that the rate would have kept by its own."""
    sampling = Sampling(SamplingRules(rate=rate, error_rate=rate, slow_ms=1))
    calls = [ended(status, took=5_000_000) for _ in range(100)]
    assert all(sampling.keeps(call) for call in calls)
    assert sum(1 / call.sampling_fraction for call in calls) == 100


def test_slow_is_the_reason():
    """A good call that is slow is kept as one, so that no later rule takes it for one kept by rate."""
    call = ended(took=5_000_000)
    assert Sampling(SamplingRules(slow_ms=1)).keeps(call)
    assert call.reason is Reason.SLOW
    failed = ended(500, took=5_000_000)
    assert Sampling(SamplingRules(slow_ms=1)).keeps(failed)
    assert failed.reason is Reason.ERROR


@pytest.mark.parametrize("status", [200, 500])
def test_cap(status):
    """A cap holds in every second, and fractions re-weigh what is kept to what was offered."""
    sampling = Sampling(SamplingRules(error_max_per_second=100, max_per_second=100))
    for second in range(1, 11):
        calls = [ended(status, at=second * SECOND + number) for number in range(1000)]
        kept = [call for call in calls if sampling.keeps(call)]
        assert len(kept) <= 100
        if second > 1:  # the first second can't know what is coming
            assert 650 <= sum(1 / call.sampling_fraction for call in kept) <= 1350


def test_below_the_cap():
    """What stays below the cap is kept whole, with fraction 1, right after a burst too."""
    sampling = Sampling(SamplingRules(max_per_second=50))
    for at in range(1000):
        sampling.keeps(ended(at=SECOND + at))
    calls = [ended(at=3 * SECOND + number) for number in range(50)]
    assert all(sampling.keeps(call) for call in calls)
    assert {call.sampling_fraction for call in calls} == {1.0}


def test_cap_of_nothing():
    """A cap of 0 keeps nothing."""
    sampling = Sampling(SamplingRules(error_max_per_second=0))
    assert not any(sampling.keeps(ended(500)) for _ in range(100))


def test_cap_and_rate():
    """Rate and cap multiply: the fraction is the chance that such a call had."""
    sampling = Sampling(SamplingRules(rate=0.5, max_per_second=100))
    for second in (1, 2):
        kept = [call for call in (ended(at=second * SECOND) for _ in range(2000)) if sampling.keeps(call)]
    assert 0 < len(kept) <= 100
    assert 1400 <= sum(1 / call.sampling_fraction for call in kept) <= 2600


def stream_of_events(*pieces, tail=(), size=None):
    """A streamed answer that ended by the model, with status 200."""
    call = ended(response_is_events=True)
    call.response.captured_pieces = list(pieces)
    call.response.tail_pieces = deque(tail) if tail else None
    call.response.captured = sum(map(len, (*pieces, *tail)))
    call.response.size = call.response.captured if size is None else size
    return call


ERROR_EVENT = b'data: {"error": {"code": 500}}\n\n'


@pytest.mark.parametrize(
    ("call", "failed"),
    [
        (stream_of_events(b'data: {"text": "a"}\n\n'), False),
        (stream_of_events(b"data: a\n\n", ERROR_EVENT), True),
        (stream_of_events(b"data: a\n\n", ERROR_EVENT[:9], ERROR_EVENT[9:]), True),
        (stream_of_events(b"data: a\n\n", tail=(ERROR_EVENT[:5], ERROR_EVENT[5:]), size=9999), True),
        (stream_of_events(ERROR_EVENT, size=9999), False),
        (stream_of_events(ERROR_EVENT, b": " + b"a" * 5000 + b"\n\n"), False),
        (stream_of_events(b'data: {"object":"chat.completion.chunk"}\n\n'), True),
        (stream_of_events(), False),
    ],
)
def test_streams_of_events(call, failed):
    """A stream fails by an error among its last events, or without its end; where its end isn't kept, not."""
    assert Sampling(SamplingRules()).has_failed(call) is failed
    call.response_is_events = False
    assert not Sampling(SamplingRules()).has_failed(call)
