"""HTTP/1 beside the bytes: draining, heads that come slowly, calls that last, and the times of a call."""

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.exchange import EndedBy, Protocol, Reason
from tests.sidecar.tap.test_byte_law import FROM_CLIENT, FROM_MODEL, cut, streams

GET = b"GET /a HTTP/1.1\r\nHost: m\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CLOSE = b"Connection: close\r\n"
SECOND = 1_000_000_000


def with_lines(message, *lines):
    """`message` with `lines` at the end of its first head."""
    head, _, body = message.partition(b"\r\n\r\n")
    return head + b"\r\n" + b"".join(lines) + b"\r\n" + body


# -- drain


def test_drain(make_rig):
    """While draining a final response says `Connection: close`, whole or in pieces; requests go on."""
    for pieces in ([OK], [OK[i : i + 1] for i in range(len(OK))]):
        rig = make_rig()
        tap = rig.tap()
        tap.from_client(GET, 1)
        assert tap.drain(2) == b""
        assert b"".join(tap.from_model(piece, 3) for piece in pieces) == with_lines(OK, rig.added(), CLOSE)
        assert tap.from_client(GET, 4) == with_lines(GET, rig.added())
        assert tap.from_model(OK, 5) == with_lines(OK, rig.added(), CLOSE)
        assert [call.response_head for call in rig.kept] == [OK[:-2]] * 2


@pytest.mark.parametrize("when", ["before any byte", "within the first line"])
def test_drain_of_a_new_connection(make_rig, when):
    """A connection that is accepted while draining is told so with its first answer."""
    rig = make_rig()
    tap = rig.tap()
    first = b"" if when == "before any byte" else GET[:5]
    if first:
        tap.from_client(first, 1)
    tap.drain(2)
    tap.from_client(GET[len(first) :], 3)
    assert tap.from_model(OK, 4) == with_lines(OK, rig.added(), CLOSE)


def test_drain_of_pipelined_requests(make_rig):
    """Only the answer that none is to follow says so: a client takes no answers after it."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET + GET + GET[:9], 1)
    tap.drain(2)
    assert tap.from_model(OK, 3) == with_lines(OK, rig.added(0))
    assert tap.from_model(OK, 4) == with_lines(OK, rig.added(1))
    tap.from_client(GET[9:], 5)
    assert tap.from_model(OK, 6) == with_lines(OK, rig.added(2), CLOSE)


@pytest.mark.parametrize(
    "answer",
    [
        with_lines(OK, b"Connection: close\r\n"),
        with_lines(OK, b"Connection: x, Close\r\n"),
        with_lines(OK, b"Connection: keep-alive\r\n"),
        with_lines(OK, b"connection: Keep-Alive, x\r\n"),
        OK.replace(b"1.1", b"1.0"),
        with_lines(OK.replace(b"1.1", b"1.0"), b"Connection: keep-alive\r\n"),
    ],
)
def test_drain_adds_nothing(make_rig, answer):
    """An answer that says it already, or says the opposite, is left as it is."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET, 1)
    tap.drain(2)
    assert tap.from_model(answer, 3) == with_lines(answer, rig.added())


@pytest.mark.parametrize("option", [b"Connection: X-Hop\r\n", b"Keep-Alive: timeout=5\r\n"])
def test_drain_beside_other_options(make_rig, option):
    """Other options of the connection are no reason to keep silent."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET, 1)
    tap.drain(2)
    answer = with_lines(OK, option)
    assert tap.from_model(answer, 3) == with_lines(answer, rig.added(), CLOSE)


def test_drain_in_an_answer_with_an_id(make_rig):
    """It is added where the id is not, and on paths that are not recorded."""
    rig = make_rig()
    tap = rig.tap()
    tap.drain(1)
    tap.from_client(GET, 2)
    answer = with_lines(OK, b"X-Request-Id: own\r\n")
    assert tap.from_model(answer, 3) == with_lines(answer, CLOSE)
    tap.from_client(b"GET /health HTTP/1.1\r\n\r\n", 4)
    assert tap.from_model(OK, 5) == with_lines(OK, CLOSE)


def test_drain_of_interim_answers_and_tunnels(make_rig):
    """Neither 100, 101 nor a tunnel's 2xx says so."""
    rig = make_rig()
    tap = rig.tap()
    tap.drain(1)
    tap.from_client(POST[:-5], 2)
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert tap.from_model(interim, 3) == interim
    tap.from_client(POST[-5:], 4)
    assert tap.from_model(OK, 5) == with_lines(OK, rig.added(), CLOSE)
    tap.from_client(b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 6)
    switching = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n"
    assert tap.from_model(switching, 7) == with_lines(switching, rig.added(1))
    tap = rig.tap()
    tap.drain(1)
    tap.from_client(b"CONNECT a:1 HTTP/1.1\r\n\r\n", 2)
    connected = b"HTTP/1.1 200 OK\r\n\r\n"
    assert tap.from_model(connected, 3) == with_lines(connected, rig.added(3))


def test_drain_of_what_is_not_followed(make_rig):
    """Nothing is added where framing has become ambiguous."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET, 1)
    tap.from_client(b"GET / HTTP/1.1\n\n", 2)
    tap.drain(3)
    assert tap.from_model(OK, 4) == OK
    assert not tap.is_idle


# -- what is held


def test_idle(make_rig):
    """A connection is idle between calls, and not while anything of one has come."""
    rig = make_rig()
    tap = rig.tap()
    assert tap.is_idle
    seen = []
    for piece in (POST[:3], POST[3:20], POST[20:-2], POST[-2:]):
        tap.from_client(piece, 1)
        seen.append(tap.is_idle)
    for piece in (OK[:5], OK[5:-1], OK[-1:]):
        tap.from_model(piece, 2)
        seen.append(tap.is_idle)
    assert seen == [False] * 6 + [True]


@pytest.mark.parametrize("target", [b"/p", b"/health"])
def test_not_idle_while_an_upload_goes_on(make_rig, target):
    """An answer that came early leaves the rest of its request, recorded or not."""
    rig = make_rig()
    tap = rig.tap()
    post = POST.replace(b"/p", target)
    tap.from_client(post[:-2], 1)
    tap.from_model(OK, 2)
    assert not tap.is_idle
    tap.from_client(post[-2:], 3)
    assert tap.is_idle


def test_held_since(make_rig):
    """The oldest byte that waits tells how slowly a head comes, in either direction, sniffed or not."""
    rig = make_rig()
    tap = rig.tap()
    assert tap.held_since == -1
    tap.from_client(GET[:2], 10)
    tap.from_client(GET[2:-4], 20)
    assert tap.held_since == 10
    tap.from_client(GET[-4:] + GET[:4], 30)
    assert tap.held_since == 30
    tap.from_model(OK[:4], 25)
    assert tap.held_since == 25
    tap.from_model(OK[4:] + b"HTTP", 40)
    assert tap.held_since == 30
    tap.from_client(GET[4:], 50)
    assert tap.held_since == 40
    assert tap.weight > 4


def test_first_held_by_the_sniffer(make_rig):
    """A beginning that is not yet a protocol is held since it came, from either side."""
    tap = make_rig().tap()
    tap.from_model(b"\0\0", 5)
    assert (tap.held_since, tap.weight) == (5, 2)
    tap = make_rig().tap()
    tap.from_client(b"G", 6)
    tap.from_client(b"E", 7)
    assert (tap.held_since, tap.weight) == (6, 2)


def test_give_up_a_slow_head(make_rig):
    """What was held is sent on, open calls are cut and say why, and the rest is counted."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET + GET[:-2], 1)
    tap.from_model(OK[:9], 2)
    assert tap.give_up("head_too_slow", 9) == (GET[:-2], OK[:9])
    assert tap.from_client(GET[-2:], 10) == GET[-2:]
    assert tap.from_model(OK[9:], 11) == OK[9:]
    assert (tap.held_since, tap.client_held, tap.model_held) == (-1, b"", b"")
    tap.lost(EndedBy.CLIENT, 12)
    assert [(call.flags, call.ended_by) for call in rig.kept] == [(["head_too_slow"], EndedBy.RELAY)]
    assert rig.count() == {"seen": 2, "handed_over": 1, "opaque": 1}


def test_give_up_an_undecided_beginning(make_rig):
    """A beginning that never becomes a protocol passes as one of an unknown one."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(b"GE", 1)
    assert tap.give_up("head_too_slow", 9) == (b"GE", b"")
    assert tap.from_client(b"T", 10) == b"T"
    tap.lost(EndedBy.CLIENT, 11)
    (call,) = rig.kept
    assert (call.protocol, b"".join(call.request.captured_pieces), call.started) == (
        Protocol.OPAQUE,
        b"GET",
        1,
    )


def test_give_up_what_is_held_behind_a_stop(make_rig):
    """When the other direction has become ambiguous, a head that is held is to be sent on at once."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET + GET[:-2], 1)
    tap.from_model(b"HTTP/1.1 200 OK\n\n", 2)
    assert tap.held_since == 0
    assert tap.give_up("head_too_slow", 3) == (GET[:-2], b"")
    tap.lost(EndedBy.CLIENT, 4)
    assert [call.flags for call in rig.kept] == [["framing_ambiguous"], ["framing_ambiguous"]]
    rig.check_balance()


# -- times


def test_started_with_the_first_byte(make_rig):
    """A call starts when its first byte came, and its heads' time in the tap is told."""
    rig = make_rig()
    tap = rig.tap()
    for now, piece in enumerate((GET[:1], GET[1:3], GET[3:-1], GET[-1:] + GET[:1]), 10):
        tap.from_client(piece, now)
    for now, piece in enumerate((OK[:1], OK[1:9], OK[9:] + OK[:3]), 20):
        tap.from_model(piece, now)
    tap.from_client(GET[1:], 30)
    tap.from_model(OK[3:], 31)
    first, second = rig.kept
    assert (first.started, first.request_completed, first.first_response_byte) == (10, 13, 20)
    assert first.started_wall_ns == 1_000_010
    assert first.relay_wait_ns == 3 + 2
    assert (second.started, second.request_completed, second.first_response_byte) == (13, 30, 22)
    assert second.relay_wait_ns == 17 + 9


def test_nothing_waits(make_rig):
    """Whole messages don't wait; nor does a body."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(POST[:-3], 1)
    tap.from_client(POST[-3:], 5)
    tap.from_model(OK[:-1], 7)
    tap.from_model(OK[-1:], 9)
    (call,) = rig.kept
    assert (call.started, call.relay_wait_ns, call.accepted) == (1, 0, 0)


# -- calls that last


def lasting_rig(make_rig, segment_after_ns):
    """A rig whose calls are recorded in short segments."""
    rig = make_rig()
    settings = dataclasses.replace(rig.context.settings, segment_after_ns=segment_after_ns)
    made = type(rig.context).make(
        settings, rig.row, rig.context.ledger._hand_over, lambda size: b"\5" * size, rig.budget
    )
    rig.context = made
    return rig


def test_segments(make_rig):
    """A call that lasts goes on in segments, while its answer comes and while it uploads."""
    rig = lasting_rig(make_rig, 10 * SECOND)
    tap = rig.tap()
    tap.from_client(POST[:-3], 1)
    tap.tick(5 * SECOND)
    assert rig.kept == []
    tap.tick(11 * SECOND)
    tap.from_client(POST[-3:], 12 * SECOND)
    tap.from_model(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", 13 * SECOND)
    tap.tick(14 * SECOND)
    tap.tick(25 * SECOND)
    tap.from_model(b"1\r\nb\r\n0\r\n\r\n", 26 * SECOND)
    assert [(call.segment, call.is_continued) for call in rig.kept] == [(0, True), (1, True), (2, False)]
    assert [b"".join(call.request.captured_pieces) for call in rig.kept] == [b"he", b"llo", b""]
    assert [b"".join(call.response.captured_pieces) for call in rig.kept] == [b"", b"a", b"b"]
    assert {call.call_number for call in rig.kept} == {1}
    assert rig.row["open"] == 0
    rig.check_balance()


def test_segments_of_an_early_answer(make_rig):
    """So does an upload whose answer has passed already."""
    rig = lasting_rig(make_rig, 10 * SECOND)
    tap = rig.tap()
    tap.from_client(POST[:-3], 1)
    tap.from_model(OK, 2)
    tap.tick(11 * SECOND)
    tap.from_client(POST[-3:], 12 * SECOND)
    assert [(call.segment, call.status, call.ended_by) for call in rig.kept] == [
        (0, 200, EndedBy.OPEN),
        (1, 200, EndedBy.MODEL),
    ]
    rig.check_balance()


def test_segments_of_websocket(make_rig):
    """And what follows an upgrade."""
    rig = lasting_rig(make_rig, 10 * SECOND)
    tap = rig.tap()
    tap.from_client(b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 1)
    tap.from_model(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\nab", 2)
    tap.tick(11 * SECOND)
    tap.from_client(b"cd", 12 * SECOND)
    tap.lost(EndedBy.CLIENT, 13 * SECOND)
    sockets = [call for call in rig.kept if call.protocol is Protocol.WEBSOCKET]
    assert [call.segment for call in sockets] == [0, 1]
    assert [call.request.captured_pieces for call in sockets] == [[], [b"cd"]]
    assert sockets[1].request.piece_times == [(12 * SECOND, 2)]
    rig.check_balance()


def test_a_stream_that_ends_with_an_error(make_rig):
    """A stream of events that tells an error is kept as a failure, though its status was 200."""
    rig = make_rig(sample_rate="0")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    for event in (b'data: {"a": 1}\n\n', b'data: {"error": 1}\n\n'):
        tap = rig.tap()
        tap.from_client(GET, 1)
        tap.from_model(head, 2)
        tap.from_model(b"%x\r\n%b\r\n" % (len(event), event), 3)
        tap.from_model(b"0\r\n\r\n", 4)
    (call,) = rig.kept
    assert (call.status, call.reason) == (200, Reason.ERROR)


@settings(max_examples=150)
@given(
    streams(FROM_CLIENT[:8]),
    streams(FROM_MODEL),
    st.lists(st.sampled_from([1, 2, 7, 30, 1000, 100_000]), min_size=1, max_size=3),
    st.lists(st.sampled_from(["client", "model"]), min_size=1, max_size=20),
    st.integers(0, 12),
)
def test_out_is_in_while_draining(make_rig, from_client, from_model, sizes, turns, drained_at):
    """Whenever draining begins: what leaves is what came, less the id and `Connection: close` lines added."""
    rig = make_rig()
    tap = rig.tap()
    pieces = {"client": cut(from_client, sizes), "model": cut(from_model, sizes)}
    out = {"client": b"", "model": b""}
    order = itertools.cycle(turns)
    for turn in itertools.count():
        if turn == drained_at:
            tap.drain(rig.now())
        side = next(order)
        if not pieces[side]:
            side = "model" if side == "client" else "client"
        if not pieces[side]:
            break
        out[side] += (tap.from_client if side == "client" else tap.from_model)(pieces[side].pop(0), rig.now())
        rig.check_balance()
    assert rig.without_added(out["client"]) + tap.client_held == from_client
    assert rig.without_added(out["model"]).replace(CLOSE, b"") + tap.model_held == from_model
    tap.lost(EndedBy.CLIENT, rig.now())
    rig.check_balance()
