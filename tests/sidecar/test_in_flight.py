"""The table of calls in flight: bounded, and what enters and leaves it."""

from infertap import v1
from sidecar.handoff import Progress, Round
from sidecar.in_flight import LOST_NS, CallInFlight, InFlight

SECOND = 1_000_000_000


def call(number: int, started: int = 0, path: str = "/x") -> CallInFlight:
    return CallInFlight(number.to_bytes(16, "big"), started, v1.Record(path=path).SerializeToString())


def numbers(calls: list[CallInFlight]) -> list[int]:
    return [int.from_bytes(each.call_id, "big") for each in calls]


def test_age_and_progress() -> None:
    """A call is as old as the time since its start, and has come as far as was told last."""
    table = InFlight()
    table.add(0, 1, call(1, started=SECOND))
    table.progress(0, Round(1, [Progress(1, 10, 20, 200, 3 * SECOND), Progress(9, 1, 1, 1, 1)]))
    (only,) = table.calls(4 * SECOND)
    record = only.shown(4 * SECOND)
    assert (record.timing.duration_us, record.timing.first_response_byte_us) == (3_000_000, 2_000_000)
    assert (record.request.size_bytes, record.response.size_bytes, record.http_status) == (10, 20, 200)
    assert record.state == v1.INFERENCING


def test_bounded_by_calls_and_bytes() -> None:
    """What finds no room is not taken; what leaves makes room."""
    table = InFlight(most_calls=2, most_bytes=1000)
    assert table.add(0, 1, call(1))
    assert not table.add(0, 2, call(2, path="/" * 1000))
    assert table.add(0, 2, call(2))
    assert not table.has_room
    assert not table.add(0, 3, call(3))
    table.end([(0, 1), (5, 5)])
    assert table.add(0, 3, call(3))
    assert numbers(table.calls(0)) == [2, 3]


def test_lost_with_the_relay() -> None:
    """What a slot had in flight has failed, stays as old as it was, and is forgotten after a minute."""
    table = InFlight()
    table.add(0, 1, call(1))
    table.add(1, 1, call(2))
    table.lose(0, 5 * SECOND)
    in_flight, lost = table.calls(20 * SECOND)
    assert numbers([in_flight, lost]) == [2, 1]
    record = lost.shown(20 * SECOND)
    assert (record.state, record.ended_by) == (v1.FAILED, v1.EndedBy.RELAY)
    assert list(record.logging_error_codes) == ["RELAY_LOST"]
    assert record.timing.duration_us == 5_000_000
    assert len(table) == 1
    assert numbers(table.calls(5 * SECOND + LOST_NS)) == [2]


def test_lost_calls_are_bounded() -> None:
    """Relays that die again and again leave no more lost calls than there may be in flight."""
    table = InFlight(most_calls=3)
    for turn in range(4):
        for number in (1, 2):
            table.add(0, number, call(10 * turn + number))
        table.lose(0, SECOND)
    assert numbers(table.calls(SECOND)) == [22, 31, 32]


def test_passed_over() -> None:
    """A call that two whole rounds of its relay did not mention is over; other slots' calls are not."""
    table = InFlight()
    table.progress(0, Round(7, []))
    for number in (1, 2):
        table.add(0, number, call(number))
    table.add(1, 1, call(3))
    row = Progress(1, 0, 0, 0, -1)
    for number in (8, 9):
        table.progress(0, Round(number, [row]))
        table.progress(0, Round(number, []))
    assert numbers(table.calls(0)) == [1, 2, 3]
    table.progress(0, Round(10, [row]))
    assert numbers(table.calls(0)) == [1, 3]


def test_appeared() -> None:
    """A listener hears of each call that appears, and of each that is lost, once and in order."""
    table = InFlight()
    table.add(0, 1, call(1))
    table.add(0, 2, call(2))
    heard = table.appeared(0)
    assert numbers(heard) == [1, 2]
    assert table.appeared(heard[-1].turn) == []
    table.end([(0, 1)])
    table.add(0, 3, call(3))
    table.lose(0, SECOND)
    heard = table.appeared(heard[-1].turn)
    assert numbers(heard) == [2, 3]
    assert all(each.lost == SECOND for each in heard)


def test_find() -> None:
    """A call is found by its id, while it is in flight and while it is shown as lost."""
    table = InFlight()
    table.add(0, 1, call(1))
    key = (1).to_bytes(16, "big")
    assert table.find(key, 0) is not None
    table.lose(0, 0)
    found = table.find(key, 0)
    assert found is not None
    assert found.lost == 0
    assert table.find(key, LOST_NS) is None
