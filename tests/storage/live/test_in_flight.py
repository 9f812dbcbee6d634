"""Storage's table of calls in flight: what sidecars tell, what ends it, and its bounds."""

import uuid
from typing import Any

import pytest

from infertap import v1
from storage.live import in_flight
from storage.live.in_flight import GRACE_NS, LOST_NS, CallInFlight, InFlight

SPOOL, OTHER = b"s" * 16, b"t" * 16
SECOND = 1_000_000_000


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def call(number: int, **fields: Any) -> v1.Record:
    made = v1.Record(call_id=str(uuid.UUID(bytes=key(number))), state=v1.INFERENCING)
    made.timing.duration_us = 1_000_000
    made.timing.start.seconds = 1_700_000_000
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def numbers(calls: list[CallInFlight]) -> list[int]:
    return [int.from_bytes(each.call_id, "big") for each in calls]


def told(*calls: v1.Record, **more: Any) -> v1.InFlight:
    return v1.InFlight(calls=calls, **more)


def test_news_age_and_progress() -> None:
    """A call is news once; it grows older by itself, and comes as far as was told last."""
    table = InFlight()
    stream = table.begin(SPOOL, 0)
    (news,) = table.take(SPOOL, stream, told(call(1, sequence=7)), SECOND)
    assert news.shown(0).sequence == 0
    assert news.shown(3 * SECOND).timing.duration_us == 3_000_000
    assert news.shown(3 * SECOND).spool_id == SPOOL
    assert table.take(SPOOL, stream, told(call(1)), SECOND) == []
    progress = v1.Progress(
        call_id=key(1), age_us=5_000_000, first_response_byte_us=7, http_status=200, response_bytes=9
    )
    assert table.take(SPOOL, stream, told(progress=[progress]), 10 * SECOND) == []
    record = table.calls()[0].shown(11 * SECOND)
    assert (record.state, record.http_status, record.response.size_bytes) == (v1.INFERENCING, 200, 9)
    assert (record.timing.duration_us, record.timing.first_response_byte_us) == (6_000_000, 7)


def test_ended_and_recorded() -> None:
    """A call leaves by the sidecar's word, or by its record, unless another record continues it."""
    table = InFlight()
    stream = table.begin(SPOOL, 0)
    table.take(SPOOL, stream, told(call(1), call(2), call(3)), 0)
    table.take(SPOOL, stream, told(ended=[key(1), key(9)]), 0)
    table.recorded(SPOOL, call(2, state=v1.COMPLETED))
    table.recorded(SPOOL, call(3, is_continued=True))
    table.recorded(OTHER, call(3))
    assert numbers(table.calls()) == [3]
    assert len(table) == 1


def test_lost_by_its_sidecars_word() -> None:
    """A call that a relay took with it is news once more, failed, and forgotten after a minute."""
    table = InFlight()
    stream = table.begin(SPOOL, 0)
    table.take(SPOOL, stream, told(call(1)), 0)
    (lost,) = table.take(SPOOL, stream, told(call(1, state=v1.FAILED)), 5 * SECOND)
    assert lost.shown(50 * SECOND).state == v1.FAILED
    assert lost.shown(50 * SECOND).timing.duration_us == 1_000_000
    assert table.sweep(LOST_NS) == []
    assert numbers(table.calls()) == [1]
    table.sweep(5 * SECOND + LOST_NS)
    assert table.calls() == []


def test_stream_that_is_gone() -> None:
    """Its calls are in flight for a while yet; then they count as lost, and are forgotten after a minute."""
    table = InFlight()
    stream = table.begin(SPOOL, 0)
    table.take(SPOOL, stream, told(call(1)), 0)
    table.end(SPOOL, stream, 20 * SECOND)
    assert table.sweep(20 * SECOND + GRACE_NS - 1) == []
    assert table.calls()[0].shown(25 * SECOND).state == v1.INFERENCING
    (lost,) = table.sweep(20 * SECOND + GRACE_NS)
    record = lost.shown(90 * SECOND)
    assert (record.state, list(record.logging_error_codes)) == (v1.FAILED, ["RELAY_LOST"])
    assert record.timing.duration_us == 21_000_000
    table.sweep(20 * SECOND + LOST_NS)
    assert (table.calls(), len(table)) == ([], 0)


def test_stream_that_comes_back() -> None:
    """What a new stream tells of goes on; what it does not tell of in time has ended in between."""
    table = InFlight()
    first = table.begin(SPOOL, 0)
    table.take(SPOOL, first, told(call(1), call(2)), 0)
    second = table.begin(SPOOL, SECOND)  # the old one is not known to be gone yet
    assert table.take(SPOOL, first, told(call(3)), SECOND) == []
    table.end(SPOOL, first, SECOND)
    assert table.take(SPOOL, second, told(call(1)), SECOND) == [], "known already"
    assert table.sweep(SECOND + GRACE_NS) == []
    assert numbers(table.calls()) == [1]


def test_lost_too_early() -> None:
    """A call that was taken for lost is in flight again when its sidecar comes back with it: news."""
    table = InFlight()
    stream = table.begin(SPOOL, 0)
    table.take(SPOOL, stream, told(call(1)), 0)
    table.end(SPOOL, stream, 0)
    assert numbers(table.sweep(GRACE_NS)) == [1]
    stream = table.begin(SPOOL, GRACE_NS)
    assert numbers(table.take(SPOOL, stream, told(call(1)), GRACE_NS)) == [1]
    assert table.calls()[0].lost is None


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool, and all together, have only so many calls and bytes; what leaves makes room."""
    monkeypatch.setattr(in_flight, "SPOOL_CALLS", 3)
    table = InFlight(most_calls=4)
    stream, other = table.begin(SPOOL, 0), table.begin(OTHER, 0)
    table.take(SPOOL, stream, told(*(call(number) for number in range(1, 6))), 0)
    table.take(OTHER, other, told(*(call(number) for number in range(11, 16))), 0)
    assert numbers(table.calls()) == [1, 2, 3, 11]
    assert table.dropped == 6
    table.take(SPOOL, stream, told(ended=[key(1)]), 0)
    table.take(OTHER, other, told(call(12)), 0)
    assert numbers(table.calls()) == [2, 3, 11, 12]
    small = InFlight(most_bytes=100)
    stream = small.begin(SPOOL, 0)
    small.take(SPOOL, stream, told(call(1), call(2), call(3)), 0)
    assert len(small) == 1


def test_calls_that_grow_are_bounded() -> None:
    """What is told of a call once more, and is larger now, needs room as a new call does."""
    table = InFlight(most_bytes=3000)
    stream = table.begin(SPOOL, 0)
    table.take(SPOOL, stream, told(*(call(number) for number in range(1, 9))), 0)
    table.take(SPOOL, stream, told(*(call(number, path="/" * 1000) for number in range(1, 9))), 0)
    assert sum(len(each.record) for each in table.calls()) <= 3000
    assert table.dropped == 8 - len(table) > 0


@pytest.mark.parametrize(
    "odd",
    [
        v1.Record(),
        call(1, call_id="x"),
        call(1, state=v1.COMPLETED),
        call(1, path="/" * in_flight.CALL_BYTES),
    ],
)
def test_what_is_no_call_in_flight(odd: v1.Record) -> None:
    """It is passed over and counted; the others of the message are kept."""
    table = InFlight()
    stream = table.begin(SPOOL, 0)
    assert numbers(table.take(SPOOL, stream, told(odd, call(2)), 0)) == [2]
    assert table.dropped == 1


def test_odd_numbers() -> None:
    """Numbers that no call has are shown as some that one could have."""
    table = InFlight()
    stream = table.begin(SPOOL, 0)
    odd = call(1)
    odd.timing.start.seconds = -1
    table.take(SPOOL, stream, told(odd, call(2)), 0)
    progress = v1.Progress(call_id=key(2), age_us=(1 << 63) - 1, response_bytes=(1 << 64) - 1)
    table.take(SPOOL, stream, told(progress=[progress]), 0)
    (record,) = [each.shown(1 << 62) for each in table.calls()]
    assert record.timing.duration_us > 0


def test_a_call_is_its_tenants() -> None:
    """A call told of by an id that is another tenant's neither hides that one nor stands in its place."""
    table = InFlight()
    forged, true = table.begin(OTHER, 0, "red"), table.begin(SPOOL, 0, "blue")
    table.take(OTHER, forged, told(call(1)), 0)
    table.take(SPOOL, true, told(call(1)), 0)
    found = [table.find(key(1), tenant) for tenant in ("blue", "red", "green")]
    assert [each and each.spool_id for each in found] == [SPOOL, OTHER, None]
    assert table.find(key(1), None) is not None


def test_progress_is_kept_without_its_message() -> None:
    """What came along with a call's progress, or inside it, takes no memory once it has been read."""
    table = InFlight()
    stream = table.begin(SPOOL, 0)
    table.take(SPOOL, stream, told(call(1)), 0)
    sent = v1.Progress(call_id=key(1), http_status=200)
    unknown = bytes([0xFA, 0x01, 0x80, 0x08]) + bytes(1024)  # field 31, which nobody has named
    table.take(SPOOL, stream, told(progress=[v1.Progress.FromString(sent.SerializeToString() + unknown)]), 0)
    (kept,) = table.calls()
    assert kept.progress == sent
    assert kept.shown(0).http_status == 200


def test_one_tenant_leaves_room_for_others() -> None:
    """Who has filled the table makes way, call by call, for tenants that have fewer; never the other way."""
    table = InFlight(most_calls=6)
    red, blue = table.begin(SPOOL, 0, "red"), table.begin(OTHER, 0, "blue")
    table.take(SPOOL, red, told(*(call(number) for number in range(1, 10))), 0)
    news = table.take(OTHER, blue, told(*(call(number) for number in range(11, 20))), 0)
    assert numbers(news) == [11, 12, 13]
    assert numbers(table.calls()) == [1, 2, 3, 11, 12, 13]
    assert table.take(SPOOL, red, told(call(20)), 0) == []
    table.take(SPOOL, red, told(ended=[key(1)]), 0)
    assert numbers(table.take(OTHER, blue, told(call(21)), 0)) == [21]
    assert len(table) == 6


def test_one_tenants_bytes_leave_room_for_others() -> None:
    """The same for what calls take in memory."""
    size = len(call(1, path="/" * 1000).SerializeToString())
    table = InFlight(most_bytes=size * 6)
    red, blue = table.begin(SPOOL, 0, "red"), table.begin(OTHER, 0, "blue")
    table.take(SPOOL, red, told(*(call(number, path="/" * 1000) for number in range(1, 10))), 0)
    table.take(OTHER, blue, told(*(call(number, path="/" * 500) for number in range(11, 40))), 0)
    of_blue = [each for each in numbers(table.calls()) if each > 10]
    assert 4 <= len(of_blue) <= 7
    assert len(numbers(table.calls())) - len(of_blue) >= 2


def test_a_spool_that_changes_hands() -> None:
    """What was told of a spool while it was of no tenant is nobody's once it has one."""
    table = InFlight()
    table.take(SPOOL, table.begin(SPOOL, 0, ""), told(call(1)), 0)
    stream = table.begin(SPOOL, 0, "red")
    assert len(table) == 0
    table.take(SPOOL, stream, told(call(1)), 0)
    table.end(SPOOL, stream, 0)
    table.sweep(GRACE_NS)
    table.sweep(LOST_NS)
    assert (len(table), table.calls()) == (0, [])
