"""How an HTTP/2 client is asked to go elsewhere: one GOAWAY between frames, best when no stream is open."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import h2.events
import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocols import HTTP2_PREFACE, literal_without_indexing
from tests.oracles.http2 import connection, frame, frames, spread

if TYPE_CHECKING:
    from sidecar.tap import Tap
    from tests.sidecar.tap.conftest import Rig

    MakeRig = Callable[..., Rig]

SECOND = 1_000_000_000
HEADERS = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/svc/Call"), (b":authority", b"m")]
REQUEST = hpack.Encoder().encode(HEADERS)
GREETING = frame(4, 0, 0, b"")
GOAWAY = frame(7, 0, 0, b"\x7f\xff\xff\xff\0\0\0\0")
OK = b"\x88"
ANSWER = frame(1, 4, 1, OK)
END = frame(0, 1, 1, b"")


def opened(make_rig: "MakeRig", streams: int = 1) -> tuple["Rig", "Tap"]:
    """A connection whose first streams are open."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(HTTP2_PREFACE + GREETING, 1)
    tap.from_model(GREETING, 1)
    for stream in range(1, 2 * streams, 2):
        tap.from_client(frame(1, 5, stream, REQUEST), 1)
    return rig, tap


def goaways(data: bytes) -> int:
    return sum(each == GOAWAY for each in frames(data))


PING = frame(6, 0, 0, bytes(8))


def test_idle_connection_is_told_last(make_rig: "MakeRig") -> None:
    """Where no stream is open nothing is said until the relay closes; what still comes then is followed."""
    rig, tap = opened(make_rig)
    tap.from_model(ANSWER + END, 2)
    assert tap.drain(3) == b""
    assert tap.from_model(PING, 4) == PING
    assert tap.drain(5) == GOAWAY
    assert tap.drain(6) == b""
    tap.from_client(frame(1, 5, 3, REQUEST), 7)
    out = tap.from_model(frame(1, 5, 3, b"\x88"), 8)
    assert goaways(out) == 0
    assert len(rig.kept) == 2
    assert tap.is_idle


def test_idle_connection_is_served_once_more(make_rig: "MakeRig") -> None:
    """A client that comes back while the relay drains gets its answer, and GOAWAY behind it."""
    _, tap = opened(make_rig)
    tap.from_model(ANSWER + END, 2)
    assert tap.drain(3) == b""
    tap.from_client(frame(1, 5, 3, REQUEST), 4)
    assert tap.drain(5) == b""
    out = tap.from_model(frame(1, 5, 3, b"\x88"), 6)
    assert frames(out)[-1] == GOAWAY
    assert tap.drain(7) == b""


def test_open_streams_end_first(make_rig: "MakeRig") -> None:
    """With streams open it is said behind the last frame of the last one, in the same bytes."""
    rig, tap = opened(make_rig, streams=2)
    assert tap.drain(2) == b""
    assert goaways(tap.from_model(frame(1, 5, 3, b"\x88"), 3)) == 0
    assert goaways(tap.from_model(ANSWER, 4)) == 0
    assert tap.from_model(END, 5) == END + GOAWAY
    assert tap.from_model(frame(6, 0, 0, bytes(8)), 6) == frame(6, 0, 0, bytes(8))
    rig.check_balance()


def test_real_client_gets_its_answers(make_rig: "MakeRig") -> None:
    """The h2 library hears both answers whole, and then that the connection ends."""
    rig = make_rig()
    tap = rig.tap()
    client, server = connection(True), connection(False)
    for stream in (1, 3):
        client.send_headers(stream, HEADERS, end_stream=True)
    server.receive_data(tap.from_client(client.data_to_send(), 1))
    tap.from_model(b"", 1)
    assert tap.drain(1) == b""
    for stream in (3, 1):
        server.send_headers(stream, [(b":status", b"200")])
        server.send_data(stream, b"body", end_stream=True)
    events = client.receive_data(tap.from_model(server.data_to_send(), 2))
    kinds = [type(each) for each in events]
    assert kinds.count(h2.events.StreamEnded) == 2
    assert kinds[-1] is h2.events.ConnectionTerminated
    assert (events[-1].error_code, events[-1].last_stream_id) == (0, (1 << 31) - 1)
    assert [call.status for call in rig.kept] == [200, 200]


def test_new_connection_is_served_first(make_rig: "MakeRig") -> None:
    """Told before any byte came, the client first gets the model's SETTINGS and its first answer."""
    rig = make_rig()
    tap = rig.tap()
    assert tap.drain(1) == b""
    tap.from_client(HTTP2_PREFACE + GREETING, 1)
    assert tap.from_model(GREETING, 2) == GREETING
    tap.from_client(frame(1, 5, 1, REQUEST), 3)
    assert goaways(tap.from_model(ANSWER, 4)) == 0
    assert tap.from_model(END, 5) == END + GOAWAY


@pytest.mark.parametrize("size", [1, 5, 13, 1000])
def test_client_that_never_rests(make_rig: "MakeRig", size: int) -> None:
    """Who opens ever more streams is told after a while, between frames however they are read."""
    _, tap = opened(make_rig, streams=2)
    tap.drain(SECOND)
    tap.from_client(frame(1, 5, 5, REQUEST), SECOND)
    sent = ANSWER + frame(0, 0, 1, b"x" * 50) + frame(1, 4, 3, b"\x88") + frame(0, 0, 3, b"y" * 50)
    early = tap.from_model(frame(0, 0, 5, b"z" * 20)[:15], 2 * SECOND)
    late = b"".join(
        tap.from_model((frame(0, 0, 5, b"z" * 20)[15:] + sent)[place : place + size], 5 * SECOND)
        for place in range(0, len(sent) + 14, size)
    )
    passed = frames(early + late)
    assert passed.count(GOAWAY) == 1
    assert [each[3] for each in passed if each != GOAWAY] == [0, 1, 0, 1, 0]


def test_long_stream_is_left_alone(make_rig: "MakeRig") -> None:
    """A stream that lasts while no new ones come is not told in its middle, however long it takes."""
    _, tap = opened(make_rig)
    tap.drain(SECOND)
    for second in range(2, 30):
        assert goaways(tap.from_model(frame(0, 0, 1, b"token"), second * SECOND)) == 0
    assert tap.from_model(END, 30 * SECOND) == END + GOAWAY


def test_model_that_leaves_itself(make_rig: "MakeRig") -> None:
    """Where the model says GOAWAY itself, the relay adds none: before, or while it waits."""
    theirs = frame(7, 0, 0, b"\0\0\0\1\0\0\0\0")
    _, tap = opened(make_rig)
    tap.from_model(ANSWER + END + theirs, 2)
    assert tap.drain(3) == tap.drain(4) == b""
    _, tap = opened(make_rig)
    tap.drain(2)
    assert tap.from_model(theirs, 3) == theirs
    assert tap.from_model(ANSWER + END, 4)[-len(END) :] == END


def test_nothing_is_said_within_a_block(make_rig: "MakeRig") -> None:
    """A header block that comes in pieces is passed whole, with GOAWAY behind it."""
    _, tap = opened(make_rig)
    tap.drain(2)
    block = frame(1, 1, 1, b"") + frame(9, 0, 1, b"\x88") + frame(9, 4, 1, b"")
    out = b"".join(tap.from_model(block[place : place + 1], 3 + place) for place in range(len(block)))
    kinds = [each[3] for each in frames(out)]
    assert kinds == [1, 9, 9, 7]


def test_opaque_rest_is_told_nothing(make_rig: "MakeRig") -> None:
    """What can't be followed has no boundaries to speak at."""
    _, tap = opened(make_rig)
    tap.from_client(frame(9, 0, 1, b""), 2)
    assert tap.drain(3) == tap.drain(4) == b""
    assert tap.from_model(ANSWER, 5) == ANSWER
    assert not tap.is_idle


def test_rest_that_became_opaque_while_draining_is_told_nothing(make_rig: "MakeRig") -> None:
    """Nor has what can be followed no more since the relay drains: it may be within a frame."""
    _, tap = opened(make_rig)
    tap.drain(2)
    tap.from_client(frame(9, 0, 1, b""), 3)
    within = END[:4]
    assert tap.from_model(within, 4) == within
    assert tap.drain(5) == b""


def test_model_that_has_ended(make_rig: "MakeRig") -> None:
    """After the model's end nothing is said to the client."""
    _, tap = opened(make_rig)
    tap.from_model(ANSWER + END, 2)
    tap.model_ended(3)
    assert tap.drain(4) == tap.drain(5) == b""


def answer_frames(stream: int) -> st.SearchStrategy[bytes]:
    """What a model may say on a stream."""
    head = st.builds(
        lambda cut, padding: spread(frame(1, 4, stream, OK), cut, padding),
        st.integers(0, 3),
        st.integers(0, 9),
    )
    data = st.builds(
        lambda size, flags: frame(0, flags, stream, bytes(size)),
        st.integers(1, 40),
        st.sampled_from([0, 0, 1]),
    )
    return head | data | st.sampled_from([PING, frame(8, 0, 0, b"\0\0\1\0"), frame(0xFB, 0, 0, b"any")])


@given(
    st.lists(st.sampled_from([1, 3, 5]).flatmap(answer_frames), max_size=30),
    st.integers(1, 50),
    st.integers(0, 30),
    st.integers(0, 30),
    st.booleans(),
)
def test_at_most_one_and_only_between_frames(
    make_rig: "MakeRig", answers: list[bytes], size: int, first: int, second: int, opens_more: bool
) -> None:
    """Whenever the relay drains, whatever passes in whatever pieces: out is in, and at most one GOAWAY."""
    rig, tap = opened(make_rig, streams=2)
    sent = b"".join(answers)
    out = b""
    for number, place in enumerate(range(0, len(sent), size)):
        now = (number + 2) * SECOND
        if number in (first, second):
            out += tap.drain(now)
        if number == first and opens_more:
            tap.from_client(frame(1, 5, 5, REQUEST), now)
        out += tap.from_model(sent[place : place + size], now)
    out += tap.drain(1000 * SECOND) + tap.drain(1001 * SECOND)
    assert tap.model_held == b""
    passed = frames(out)
    assert passed.count(GOAWAY) <= 1
    ids = [literal_without_indexing(b"x-request-id", made) for made in rig.made]
    rest = b"".join(each for each in passed if each != GOAWAY)
    assert len(rest) == len(sent) + sum(rest.count(each) * len(each) for each in ids)
    assert [each[3:9] for each in frames(rest)] == [each[3:9] for each in frames(sent)]
