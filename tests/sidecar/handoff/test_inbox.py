"""The recorder's inbox: every number is told once, as arrived or as lost."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.exchange import Body, Exchange, Protocol
from sidecar.handoff import Arrived, Inbox, Lost, wire


def call(number: int, size: int = 0) -> Exchange:
    body = Body([b"x" * size], size, size, [], 1)
    return Exchange(number, 0, Protocol.HTTP1, 0, request=body)


def batch(*numbers: int) -> bytes:
    return wire.batch_packet(numbers[0], [wire.pack_exchange(call(number)) for number in numbers])


def parts(number: int) -> list[bytes]:
    return wire.part_packets(number, wire.pack_exchange(call(number, 200_000)))


def told(inbox: Inbox, *packets: bytes) -> list[tuple[str, int, int]]:
    """What the inbox says, flat: ("arrived", n, n) or ("lost", first, last)."""
    said: list[tuple[str, int, int]] = []
    for packet in packets:
        for each in inbox.take(packet):
            if isinstance(each, Arrived):
                assert each.exchange.call_number == each.number
                said.append(("arrived", each.number, each.number))
            else:
                said.append(("lost", each.first, each.last))
    return said


def test_batches_in_order_arrive_without_loss() -> None:
    """Contiguous batches give their calls, numbered, and no loss."""
    assert told(Inbox(0, 0), batch(1, 2), batch(3)) == [("arrived", n, n) for n in (1, 2, 3)]


def test_hole_before_a_batch_is_lost() -> None:
    """A number further than the next one tells what is missing, before the call that shows it."""
    assert told(Inbox(0, 4), batch(8)) == [("lost", 5, 7), ("arrived", 8, 8)]


def test_mark_tells_the_loss_of_the_latest_calls() -> None:
    """A mark beyond the last number is a loss of all between; one at the last number says nothing."""
    inbox = Inbox(3, 4)
    assert inbox.take(wire.mark_packet(6)) == [Lost(3, 5, 6)]
    assert inbox.take(wire.mark_packet(6)) == []
    assert Lost(3, 5, 6).count == 2


def test_parts_come_together() -> None:
    """An exchange in parts arrives with its last part."""
    packets = parts(1)
    inbox = Inbox(0, 0)
    assert told(inbox, *packets[:-1]) == []
    assert told(inbox, packets[-1]) == [("arrived", 1, 1)]


def test_parts_cut_by_a_successor_are_lost() -> None:
    """Parts that a killed relay left unfinished are lost with its successor's first mark."""
    assert told(Inbox(0, 0), *parts(1)[:2], wire.mark_packet(1), batch(2)) == [
        ("lost", 1, 1),
        ("arrived", 2, 2),
    ]


def test_parts_without_a_beginning_are_lost() -> None:
    """Parts whose first went to a killed recorder are not taken for an exchange."""
    inbox = Inbox(0, 0)
    assert told(inbox, *parts(1)[1:], batch(2)) == [("lost", 1, 1), ("arrived", 2, 2)]
    assert inbox.faults > 0


def test_too_big_an_exchange_is_not_collected() -> None:
    """Parts beyond the limit are forgotten, and the call is lost."""
    inbox = Inbox(0, 0, max_exchange_bytes=100_000)
    assert told(inbox, *parts(1), batch(2)) == [("lost", 1, 1), ("arrived", 2, 2)]


def test_settled_numbers_are_not_told_again() -> None:
    """What was settled before is never told twice."""
    assert told(Inbox(0, 2), batch(1, 2, 3)) == [("arrived", 3, 3)]


def test_unreadable_packets_are_counted_and_show_as_losses() -> None:
    """Garbage raises nothing, is counted, and its numbers are lost once a later packet shows the hole."""
    inbox = Inbox(0, 0)
    damaged = batch(1)[:-3]
    assert told(inbox, damaged, b"", b"\x09" * 20, batch(2)) == [("lost", 1, 1), ("arrived", 2, 2)]
    assert inbox.faults == 3


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_every_number_is_told_once_whatever_is_lost(kept: list[bool]) -> None:
    """Drop any packets: arrivals and losses together are each number, once, in order."""
    packets = [(batch(n) if n % 3 else parts(n)) for n in range(1, len(kept) + 1)]
    flat = [
        packet
        for keep, group in zip(kept, packets, strict=True)
        for packet in ([group] if isinstance(group, bytes) else group)
        if keep
    ]
    said = told(Inbox(0, 0), *flat, wire.mark_packet(len(kept)))
    assert [n for _, first, last in said for n in range(first, last + 1)] == list(range(1, len(kept) + 1))
    assert sum(1 for kind, _, _ in said if kind == "arrived") == sum(kept)
