"""Rests and what was asked: kept for the next segment, and within bounds."""

import pytest

from infertap import v1
from sidecar.exchange import Exchange, Protocol
from sidecar.recorder import asked
from sidecar.recorder.asked import Asked
from sidecar.recorder.read_body import WireSide
from sidecar.recorder.rests import MOST, Rests, rest_of_events, rest_of_lines, rest_of_messages


def side(number: int, segment: int) -> WireSide:
    call = Exchange(number, 0, Protocol.HTTP1, 0, segment=segment)
    return WireSide(call, False, (), key=number.to_bytes(16, "big"))


def test_the_next_segment_gets_it_once() -> None:
    """Only the segment that follows has use for a rest, and only once."""
    rests = Rests()
    rests.keep(side(1, 0), b"begun")
    assert rests.take(side(2, 1)) is None
    assert rests.take(side(1, 1)) == b"begun"
    assert rests.take(side(1, 1)) is None
    rests.keep(side(1, 1), b"")
    assert rests.take(side(1, 3)) is None


def test_bounds() -> None:
    """The oldest are forgotten, and what is too large is not kept."""
    rests = Rests()
    for number in range(MOST + 1):
        rests.keep(side(number, 0), b"x")
    assert rests.take(side(0, 1)) is None
    assert rests.take(side(MOST, 1)) == b"x"
    rests.keep(side(1, 4), b"x" * (64 << 10))
    assert rests.take(side(1, 5)) is None


@pytest.mark.parametrize(
    ("data", "rest"),
    [(b"data: a\n\ndata: b", b"data: b"), (b"data: a\r\n\r\n", b""), (b"a\n\nb\n\nc\n", b"c\n"), (b"", b"")],
)
def test_rest_of_events(data: bytes, rest: bytes) -> None:
    """What follows the last empty line."""
    assert rest_of_events(data) == rest


def test_rest_of_lines_and_messages() -> None:
    """What follows the last end of a line; the last message that is whole."""
    assert rest_of_lines(b'{"a":1}\n{"b"') == b'{"b"'
    assert rest_of_messages(b"\0\0\0\0\1a\0\0\0\0\2b") == b"\0\0\0\0\2b"
    assert rest_of_messages(b"\0\0\0\0\1a\0\0") == b"\0\0"


def test_what_was_asked() -> None:
    """Later segments are told what the first one was; the call's last one ends the memory."""
    known = Asked()
    first = v1.Record(is_continued=True, payload_id="p", model=v1.Model(name="m", parameters_json="{}"))
    known.go_on(b"c", first)
    second = v1.Record(segment=1, is_continued=True, model=v1.Model(name="default", output_tokens=3))
    known.go_on(b"c", second)
    assert (second.model.name, second.model.parameters_json, second.payload_id) == ("m", "{}", "p")
    assert second.model.output_tokens == 3
    known.go_on(b"c", v1.Record(segment=2))
    late = v1.Record(segment=3)
    known.go_on(b"c", late)
    assert late.model.name == ""


def test_not_too_much_is_remembered() -> None:
    """The oldest calls are forgotten; long parameters are left to the first segment."""
    known = Asked()
    for number in range(asked.MOST + 1):
        model = v1.Model(name="m", parameters_json="x" * 5000)
        known.go_on(b"%d" % number, v1.Record(is_continued=True, model=model))
    for number, name in ((0, ""), (asked.MOST, "m")):
        record = v1.Record(segment=1)
        known.go_on(b"%d" % number, record)
        assert (record.model.name, record.model.parameters_json) == (name, "")
