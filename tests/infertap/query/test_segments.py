"""Segments of a call, joined into one record."""

import json

from hypothesis import given
from hypothesis import strategies as st

from infertap import v1
from infertap.query import is_segment, join_segments
from infertap.query.segments import BODY_BYTES, CUT


def segment(number: int, data: bytes = b"", view: object = None, last: bool = False) -> v1.Record:
    made = v1.Record(
        call_id="c",
        segment=number,
        is_continued=not last,
        state=v1.COMPLETED if last else v1.INFERENCING,
        sequence=100 + number,
    )
    made.timing.duration_us = 300 * (number + 1)
    payload = made.response
    payload.data = data
    payload.size_bytes = len(data) + 5
    payload.captured_bytes = len(data)
    payload.piece_count = 2
    payload.pieces.add(offset_us=300 * number, size_bytes=1)
    payload.redactions.add(count=1, field="body", **{"class": "email"})
    if view is not None:
        payload.decoded_json = json.dumps(view)
    return made


def test_numbers_are_summed_up() -> None:
    """Sizes, pieces and redactions are the whole call's; the end is that of the latest segment."""
    joined = join_segments([segment(0, b"one "), segment(1, b"two "), segment(2, b"three", last=True)])
    assert joined is not None
    response = joined.response
    assert (response.data, response.size_bytes, response.captured_bytes) == (b"one two three", 28, 13)
    assert (response.piece_count, [each.offset_us for each in response.pieces]) == (6, [0, 300, 600])
    assert [(each.count, each.field) for each in response.redactions] == [(3, "body")]
    assert (joined.state, joined.is_continued, joined.sequence) == (v1.COMPLETED, False, 102)
    assert (joined.timing.duration_us, joined.segments_joined, joined.segments_missing) == (900, 3, 0)


def test_what_was_asked_and_how_it_ended() -> None:
    """The model's name and parameters are told by the first segment, tokens and reasons by the latest."""
    first, second, third = segment(0), segment(1), segment(2, last=True)
    first.model.name, first.model.parameters_json, first.payload_id = "m", "{}", "p"
    second.model.name = "default"
    second.model.output_tokens = 5
    third.model.output_tokens = 9
    third.model.finish_reasons.append("stop")
    first.logging_error_codes.append("A")
    joined = join_segments([first, second, third])
    assert joined is not None
    model = joined.model
    assert (model.name, model.parameters_json, model.output_tokens) == ("m", "{}", 9)
    assert (list(model.finish_reasons), joined.payload_id) == (["stop"], "p")
    assert list(joined.logging_error_codes) == ["A"]


def test_missing_segments_are_told() -> None:
    """What was evicted, or has not arrived, is counted, and the bodies say that they are not whole."""
    joined = join_segments([segment(1, b"two "), segment(4, b"five")])
    assert joined is not None
    assert (joined.segments_joined, joined.segments_missing) == (2, 3)
    assert joined.response.truncated
    assert joined.is_continued


def test_views_are_lists() -> None:
    """Messages are put one behind the other; other views stand in a list, one for each segment."""
    joined = join_segments([segment(0, view=[{"a": 1}]), segment(1), segment(2, view={"b": 2}, last=True)])
    assert joined is not None
    assert json.loads(joined.response.decoded_json) == [{"a": 1}, {"b": 2}]


def test_large_calls_are_cut() -> None:
    """The first segments are joined as far as there is room, and the latest always; the hole is marked."""
    made = [segment(number, b"%d" % number * (BODY_BYTES // 3)) for number in range(6)]
    joined = join_segments([*made, segment(6, b"the end", last=True)])
    assert joined is not None
    response = joined.response
    assert len(response.data) <= BODY_BYTES + 7
    assert response.data[response.tail_offset :] == b"the end"
    assert response.truncated
    assert list(joined.logging_error_codes) == [CUT]
    assert response.size_bytes == 6 * (BODY_BYTES // 3 + 5) + 12


def test_the_later_of_two_counts() -> None:
    """A segment that was recorded twice is joined once."""
    joined = join_segments([segment(0, b"old"), segment(0, b"new "), segment(1, b"end", last=True)])
    assert joined is not None
    assert (joined.response.data, joined.segments_joined) == (b"new end", 2)


def test_holes_keep_their_place() -> None:
    """Where a segment's body has a hole, the joined one says where."""
    first, second = segment(0, b"one "), segment(1, b"headtail", last=True)
    second.response.tail_offset = 4
    joined = join_segments([first, second])
    assert joined is not None
    assert joined.response.data[joined.response.tail_offset :] == b"tail"


def test_of_nothing() -> None:
    """No segments are no record; whole calls are no segments."""
    assert join_segments([]) is None
    assert not is_segment(v1.Record())
    assert is_segment(segment(0))


@given(st.sets(st.integers(0, 40), min_size=1), st.booleans())
def test_counts(numbers: set[int], ended: bool) -> None:
    """Whatever is there, what is joined and what is missing make the latest segment's number."""
    ordered = sorted(numbers)
    joined = join_segments(segment(each, b"x", last=ended and each == ordered[-1]) for each in ordered)
    assert joined is not None
    assert joined.segments_joined + joined.segments_missing == ordered[-1] + 1
    assert joined.response.data == b"x" * len(numbers)
