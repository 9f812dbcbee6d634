"""HTTP/1 that the settings refuse: what its client is told, what is never passed on, what is recorded."""

import itertools
import re

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.exchange import EndedBy, Protocol
from sidecar.protocols import MAX_HEAD, Kind, RequestFramer, Stop
from sidecar.tap import Refused
from tests.sidecar.tap.test_byte_law import FROM_CLIENT, FROM_MODEL, cut, streams

GET = b"GET /a HTTP/1.1\r\nHost: m\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
BOTH = b"POST /x HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
SMUGGLED = BOTH + b"0\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n"
CHUNKED = b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

AMBIGUOUS = {
    "Content-Length together with Transfer-Encoding": SMUGGLED,
    "more than one Content-Length": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "Content-Length that is no plain number": b"POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\na",
    "Transfer-Encoding other than chunked, once": b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    "Transfer-Encoding in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a line that ends with CR or LF alone": b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
    "folded header field": b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    "white space before a colon": b"GET / HTTP/1.1\r\nContent-Length : 1\r\n\r\n",
    "malformed header field": b"GET / HTTP/1.1\r\nA: \0\r\n\r\n",
    "malformed start line": b"GET / HTTP/1.1 \r\n\r\n",
    "content in a CONNECT request": b"CONNECT a:1 HTTP/1.1\r\nContent-Length: 1\r\n\r\na",
}


def refusal(follow, data, now=9):
    """What a call raises that must refuse."""
    with pytest.raises(Refused) as raised:
        follow(data, now)
    return raised.value


def read_answer(answer, method="GET"):
    """The answer as h11 reads it: status, header fields, content; it must be whole, and the last."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    head = client.next_event()
    assert isinstance(head, h11.Response)
    content = b""
    while isinstance(event := client.next_event(), h11.Data):
        content += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data == (b"", False)
    fields = dict(head.headers)
    assert fields[b"connection"] == b"close"
    return head.status_code, fields, content


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_ambiguous_request(make_rig, fault):
    """Its client is told 400 and why; none of its bytes is passed on, however it is split; it is recorded."""
    data = AMBIGUOUS[fault]
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))], [data[:20], data[20:]]):
        rig = make_rig(ambiguous_framing="reject")
        tap = rig.tap()
        for piece in pieces:
            try:
                assert tap.from_client(piece, 5) == b""
            except Refused as raised:
                refused = raised
                break
        assert refused.onward == b""
        status, fields, content = read_answer(refused.answer)
        assert (status, fields[b"x-request-id"]) == (400, rig.made[0])
        assert fields[b"date"] == b"Thu, 01 Jan 1970 00:00:00 GMT"
        if pieces == [data]:  # a part of a head may be wrong in another way than the whole
            assert content.decode() == f"Refused by the sidecar: {fault}.\n"
        (call,) = rig.kept
        assert (call.protocol, call.status, call.ended_by) == (Protocol.OPAQUE, 400, EndedBy.RELAY)
        assert call.flags == ["framing_ambiguous", "refused"]
        assert rig.count() == {"seen": 1, "handed_over": 1, "framing_ambiguous": 1}
        rig.check_balance()


def test_what_is_recorded_of_it(make_rig):
    """The refused call has the request line where there is a clear one, and what came, as opaque bytes."""
    rig = make_rig(ambiguous_framing="reject")
    refusal(rig.tap().from_client, SMUGGLED)
    (call,) = rig.kept
    assert (call.method, call.target) == (b"POST", b"/x")
    assert call.request.captured_pieces == [SMUGGLED]
    assert call.request_head == b""


def test_earlier_requests_are_answered_first(make_rig):
    """A request behind others is told 400 after their answers; what comes after it is dropped."""
    rig = make_rig(ambiguous_framing="reject")
    tap = rig.tap()
    out = tap.from_client(GET + GET + SMUGGLED, 1)
    assert rig.without_added(out) == GET + GET
    assert tap.from_client(GET, 2) == b""
    assert tap.client_held == b""
    assert not tap.is_idle
    assert rig.without_added(tap.from_model(OK, 3)) == OK
    refused = refusal(tap.from_model, OK)
    assert rig.without_added(refused.onward) == OK
    assert read_answer(refused.answer)[0] == 400
    assert [(call.target, call.status) for call in rig.kept] == [(b"/a", 200), (b"/a", 200), (b"/x", 400)]
    assert rig.row["open"] == 0
    rig.check_balance()


def test_both_answers_in_one_read(make_rig):
    """The answers to the requests before it may come at once, and in pieces."""
    for pieces in ([OK + OK], [(OK + OK)[i : i + 1] for i in range(2 * len(OK))]):
        rig = make_rig(ambiguous_framing="reject")
        tap = rig.tap()
        tap.from_client(GET + GET, 1)
        tap.from_client(SMUGGLED, 2)
        back = b""
        for piece in pieces[:-1]:
            back += tap.from_model(piece, 3)
        refused = refusal(tap.from_model, pieces[-1])
        assert rig.without_added(back + refused.onward) == OK + OK
        assert refused.answer.startswith(b"HTTP/1.1 400 ")


def test_no_answer_behind_the_last(make_rig):
    """Where an earlier answer says that it is the last, or lasts until the end, the connection just ends."""
    rig = make_rig(ambiguous_framing="reject")
    tap = rig.tap()
    tap.from_client(GET + SMUGGLED, 1)
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    refused = refusal(tap.from_model, last)
    assert (rig.without_added(refused.onward), refused.answer) == (last, b"")
    assert [call.status for call in rig.kept] == [200, 0]

    rig = make_rig(ambiguous_framing="reject")
    tap = rig.tap()
    tap.from_client(GET + SMUGGLED, 1)
    tap.from_model(b"HTTP/1.1 200 OK\r\n\r\nabc", 2)
    with pytest.raises(Refused) as raised:
        tap.model_ended(3)
    assert (raised.value.onward, raised.value.answer) == (b"", b"")
    assert [(call.status, call.ended_by) for call in rig.kept] == [(200, EndedBy.MODEL), (0, EndedBy.RELAY)]
    rig.check_balance()


def test_lost_while_earlier_requests_wait(make_rig):
    """A connection that is lost before its refused request could be told so is accounted for."""
    rig = make_rig(ambiguous_framing="reject")
    tap = rig.tap()
    tap.from_client(GET + SMUGGLED, 1)
    tap.lost(EndedBy.CLIENT, 2)
    tap.lost(EndedBy.CLIENT, 3)
    assert [call.flags for call in rig.kept] == [[], ["framing_ambiguous", "refused"]]
    rig.check_balance()
    assert rig.row["open"] == 0


def test_fault_while_earlier_requests_wait(make_rig):
    """So is one whose tap fails then."""
    rig = make_rig(ambiguous_framing="reject")
    tap = rig.tap()
    tap.from_client(GET + SMUGGLED, 1)
    tap.abandon(2)
    assert rig.count() == {"seen": 3, "shed_tap_fault": 2, "opaque": 1, "framing_ambiguous": 1}
    assert rig.budget.used == 0


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"3\r\nabcd\r\n0\r\n\r\n", b"chunk data that is not followed by CRLF"),
        (b"0x3\r\nabc\r\n0\r\n\r\n", b"malformed chunk size or chunk extension"),
        (b"3\r\nabc\r\n0\r\nA : b\r\n\r\n", b"malformed trailer section"),
        (b"3\r\nabc\r\n0\r\nA: b\n\r\n", b"malformed trailer section"),
    ],
)
def test_ambiguous_body(make_rig, body, fault):
    """A request that turns out ambiguous after its head is cut there: the model never sees its end."""
    for pieces in (
        [CHUNKED + body],
        [CHUNKED, body],
        [CHUNKED] + [body[i : i + 1] for i in range(len(body))],
    ):
        rig = make_rig(ambiguous_framing="reject")
        tap = rig.tap()
        out = b""
        for piece in pieces:
            try:
                out += tap.from_client(piece, 5)
            except Refused as raised:
                refused = raised
                break
        out = rig.without_added(out + refused.onward)
        assert out.startswith(CHUNKED)
        assert (CHUNKED + body).startswith(out)
        told = [kind for kind, _, _ in RequestFramer().feed(out)[0]]
        assert Kind.END not in told
        status, fields, content = read_answer(refused.answer)
        assert (status, fields[b"x-request-id"]) == (400, rig.made[0])
        assert fault in content
        (call,) = rig.kept
        assert (call.protocol, call.target, call.status) == (Protocol.HTTP1, b"/c", 400)
        assert call.flags == ["framing_ambiguous", "refused"]
        rig.check_balance()


def test_ambiguous_body_behind_an_unanswered_request(make_rig):
    """It, too, waits for the answers before it."""
    rig = make_rig(ambiguous_framing="reject")
    tap = rig.tap()
    tap.from_client(GET + CHUNKED, 1)
    assert tap.from_client(b"x\r\n", 2) == b""
    refused = refusal(tap.from_model, OK)
    assert rig.without_added(refused.onward) == OK
    assert refused.answer.startswith(b"HTTP/1.1 400 ")
    assert [(call.target, call.status) for call in rig.kept] == [(b"/a", 200), (b"/c", 400)]


def test_ambiguous_body_of_a_skipped_request(make_rig):
    """On a path that is never recorded a refusal is."""
    rig = make_rig(ambiguous_framing="reject")
    tap = rig.tap()
    tap.from_client(CHUNKED.replace(b"/c", b"/health"), 1)
    refused = refusal(tap.from_client, b"x\r\n")
    assert refused.answer.startswith(b"HTTP/1.1 400 ")
    assert rig.kept[0].flags == ["framing_ambiguous", "refused"]
    assert rig.count() == {"seen": 2, "skipped": 1, "handed_over": 1, "framing_ambiguous": 1}


def test_ambiguous_body_of_a_request_with_its_answer(make_rig):
    """Where its answer has begun, or has passed, nothing is said beside it."""
    for answer, status, by in ((OK[:-1], 200, EndedBy.RELAY), (OK, 200, EndedBy.MODEL)):
        rig = make_rig(ambiguous_framing="reject")
        tap = rig.tap()
        tap.from_client(CHUNKED, 1)
        tap.from_model(answer, 2)
        assert refusal(tap.from_client, b"x\r\n").answer == b""
        (call,) = rig.kept
        assert (call.status, call.ended_by) == (status, by)
        assert call.flags == ["framing_ambiguous", "refused"]
        rig.check_balance()


def test_interim_answers_say_nothing(make_rig):
    """After 100 Continue a refusal can still be told."""
    rig = make_rig(ambiguous_framing="reject")
    tap = rig.tap()
    tap.from_client(CHUNKED, 1)
    tap.from_model(b"HTTP/1.1 100 Continue\r\n\r\n", 2)
    assert refusal(tap.from_client, b"x\r\n").answer.startswith(b"HTTP/1.1 400 ")


def test_refused_head_request(make_rig):
    """The answer to HEAD has no content."""
    rig = make_rig(ambiguous_framing="reject")
    refused = refusal(rig.tap().from_client, BOTH.replace(b"POST", b"HEAD"))
    status, _, content = read_answer(refused.answer, "HEAD")
    assert (status, content) == (400, b"")
    assert refused.answer.endswith(b"\r\n\r\n")


def test_data_before_its_time(make_rig):
    """What comes before an upgrade is answered is refused; if that is granted, the connection ends."""
    upgrade = b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
    rig = make_rig(ambiguous_framing="reject")
    tap = rig.tap()
    assert rig.without_added(tap.from_client(upgrade + GET, 1)) == upgrade
    refused = refusal(tap.from_model, b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\nx")
    assert refused.answer == b""
    assert [call.status for call in rig.kept] == [101, 0]
    rig.check_balance()


TWICE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd"


def test_ambiguous_response(make_rig):
    """Its client is told 502, and gets none of its bytes; what was answered before has passed."""
    rig = make_rig(ambiguous_framing="reject")
    tap = rig.tap()
    tap.from_client(GET + GET + GET, 1)
    refused = refusal(tap.from_model, OK + TWICE)
    assert rig.without_added(refused.onward) == OK
    status, fields, content = read_answer(refused.answer)
    assert (status, fields[b"x-request-id"]) == (502, rig.made[1])
    assert content == b"Refused by the sidecar: the answer has more than one Content-Length.\n"
    assert [(call.status, call.flags, call.ended_by) for call in rig.kept] == [
        (200, [], EndedBy.MODEL),
        (502, ["framing_ambiguous", "refused"], EndedBy.RELAY),
        (0, ["framing_ambiguous", "refused"], EndedBy.RELAY),
    ]
    rig.check_balance()


def test_ambiguous_response_to_head(make_rig):
    """The 502 to HEAD has no content."""
    rig = make_rig(ambiguous_framing="reject")
    tap = rig.tap()
    tap.from_client(b"HEAD" + GET[3:], 1)
    assert read_answer(refusal(tap.from_model, TWICE).answer, "HEAD")[2] == b""


def test_ambiguous_response_body(make_rig):
    """An answer that has begun is cut there."""
    rig = make_rig(ambiguous_framing="reject")
    tap = rig.tap()
    tap.from_client(GET, 1)
    begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
    tap.from_model(begun, 2)
    refused = refusal(tap.from_model, b"1\r\na\r\n" + b"zz\r\n")
    assert (refused.onward, refused.answer) == (b"1\r\na\r\n", b"")
    assert rig.kept[0].status == 200


def test_ambiguous_response_while_a_refused_request_waits(make_rig):
    """Both are settled, and the client is told of the first."""
    rig = make_rig(ambiguous_framing="reject")
    tap = rig.tap()
    tap.from_client(GET + SMUGGLED, 1)
    refused = refusal(tap.from_model, TWICE)
    assert refused.answer.startswith(b"HTTP/1.1 502 ")
    assert [call.status for call in rig.kept] == [502, 0]
    rig.check_balance()


def test_only_what_is_ambiguous(make_rig):
    """Where ambiguous framing is rejected, what merely can't be recorded is relayed on."""
    rig = make_rig(ambiguous_framing="reject")
    tap = rig.tap()
    large = b"GET /b HTTP/1.1\r\nA: " + b"a" * MAX_HEAD
    assert tap.from_client(large, 1) == large
    tls = b"\x16\x03\x01"
    assert rig.tap().from_client(tls, 2) == tls
    tap = rig.tap()
    tap.from_client(b"CONNECT a:1 HTTP/1.1\r\n\r\n", 3)
    connected = b"HTTP/1.1 200 OK\r\n\r\nx"
    assert rig.without_added(tap.from_model(connected, 4)) == connected


# -- what can't be recorded


def test_unrecordable_heads(make_rig):
    """Heads beyond the limit are refused: 431 for a request, 502 for a response."""
    large = b"A: " + b"a" * MAX_HEAD + b"\r\n\r\n"
    rig = make_rig(unrecordable="refuse")
    refused = refusal(rig.tap().from_client, b"GET /b HTTP/1.1\r\n" + large)
    assert read_answer(refused.answer)[0] == 431
    assert refused.onward == b""
    assert (rig.kept[0].target, rig.kept[0].flags) == (b"/b", ["head_too_large", "refused"])
    tap = rig.tap()
    tap.from_client(GET, 1)
    refused = refusal(tap.from_model, b"HTTP/1.1 200 OK\r\n" + large)
    assert (refused.onward, read_answer(refused.answer)[0]) == (b"", 502)
    assert rig.kept[1].status == 502
    assert rig.row["heads_too_large"] == 2
    rig.check_balance()


def test_unrecordable_includes_ambiguous(make_rig):
    """What is ambiguous can't be recorded either."""
    rig = make_rig(unrecordable="refuse")
    assert refusal(rig.tap().from_client, SMUGGLED).answer.startswith(b"HTTP/1.1 400 ")
    tap = rig.tap()
    tap.from_client(GET, 1)
    assert refusal(tap.from_model, TWICE).answer.startswith(b"HTTP/1.1 502 ")


def test_unasked_response(make_rig):
    """An answer that nobody asked for is not passed on; the connection ends without a word."""
    rig = make_rig(unrecordable="refuse")
    tap = rig.tap()
    tap.from_client(GET, 1)
    refused = refusal(tap.from_model, OK + OK)
    assert rig.without_added(refused.onward) == OK
    assert refused.answer == b""
    assert [call.flags for call in rig.kept] == [[], ["response_unexpected", "refused"]]


def test_too_many_unanswered(make_rig):
    """So does one with too many unanswered requests."""
    rig = make_rig(unrecordable="refuse")
    tap = rig.tap()
    assert rig.without_added(tap.from_client(GET * 500, 1)) == GET * 500
    refused = refusal(tap.from_client, GET * 2000)
    assert (rig.without_added(refused.onward), refused.answer) == (GET * 2000, b"")
    assert rig.kept[0].flags == ["too_many_unanswered", "refused"]
    assert rig.row["open"] == 0
    rig.check_balance()


@pytest.mark.parametrize(
    ("request_head", "answer"),
    [
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nx"),
        (b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\nx"),
        (
            b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
            b"HTTP/1.1 101 Switching\r\nX-Request-Id: own\r\nUpgrade: h2c\r\n\r\nx",
        ),
    ],
)
def test_unrecordable_tunnels(make_rig, request_head, answer):
    """A model that agrees to another protocol, in which calls can't be told, is not heard: 502."""
    rig = make_rig(unrecordable="refuse")
    tap = rig.tap()
    assert rig.without_added(tap.from_client(GET + request_head, 1)) == GET + request_head
    refused = refusal(tap.from_model, OK + answer)
    assert rig.without_added(refused.onward) == OK
    assert read_answer(refused.answer)[0] == 502
    assert [(call.status, call.flags) for call in rig.kept] == [(200, []), (502, ["tunnel", "refused"])]
    rig.check_balance()


def test_tunnels_that_are_declined(make_rig):
    """Asking for another protocol is no reason to refuse: most models decline."""
    rig = make_rig(unrecordable="refuse")
    tap = rig.tap()
    tap.from_client(b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", 1)
    assert rig.without_added(tap.from_model(OK, 2)) == OK


def test_websocket_is_recorded(make_rig):
    """WebSocket is not refused, as its messages are read from what was captured."""
    rig = make_rig(unrecordable="refuse", ambiguous_framing="reject")
    tap = rig.tap()
    tap.from_client(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 1)
    switching = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\nx"
    assert rig.without_added(tap.from_model(switching, 2)) == switching


@pytest.mark.parametrize("first", [b"\x16\x03\x01", b"EHLO there\r\n", b"A" * 40])
def test_unknown_protocols(make_rig, first):
    """A connection of an unknown protocol ends without a word, and is recorded as refused."""
    rig = make_rig(unrecordable="refuse")
    refused = refusal(rig.tap().from_client, first)
    assert (refused.onward, refused.answer) == (b"", b"")
    refused = refusal(rig.tap().from_model, b"220 mail\r\n")
    assert (refused.onward, refused.answer) == (b"", b"")
    assert [call.flags for call in rig.kept] == [["protocol_unknown", "refused"]] * 2
    rig.check_balance()


def test_undecided_to_the_end(make_rig):
    """One that ends before its protocol is known is refused as well; one that says nothing is nobody's."""
    rig = make_rig(unrecordable="refuse")
    tap = rig.tap()
    assert tap.from_client(b"GET", 1) == b""
    with pytest.raises(Refused):
        tap.client_ended(2)
    tap = rig.tap()
    assert tap.client_ended(1) == tap.model_ended(2) == b""
    assert len(rig.kept) == 1


def test_slow_head(make_rig):
    """A head that comes too slowly is told 408 where nothing else is going on, else the connection ends."""
    rig = make_rig(unrecordable="refuse")
    tap = rig.tap()
    tap.from_client(GET, 1)
    tap.from_model(OK, 2)
    tap.from_client(GET[:-2], 3)
    assert tap.held_since == 3
    with pytest.raises(Refused) as raised:
        tap.give_up("head_too_slow", 9)
    status, _, content = read_answer(raised.value.answer)
    assert (status, content) == (408, b"Refused by the sidecar: a head that came too slowly.\n")
    for why, come in (("head_too_slow", GET + GET[:-2]), ("state_budget_spent", GET[:-2])):
        tap = rig.tap()
        tap.from_client(come, 3)
        with pytest.raises(Refused) as raised:
            tap.give_up(why, 9)
        assert (raised.value.onward, raised.value.answer) == (b"", b"")
    assert [call.flags for call in rig.kept] == [[], ["head_too_slow", "refused"]]
    rig.check_balance()


def test_refused_calls_have_failed(make_rig):
    """Sampling keeps refused calls as the failures they are."""
    rig = make_rig(unrecordable="refuse", sample_rate="0")
    refusal(rig.tap().from_client, b"\x16\x03\x01")
    refusal(rig.tap().from_client, SMUGGLED)
    assert len(rig.kept) == 2


@settings(max_examples=300)
@given(
    streams(FROM_CLIENT),
    streams(FROM_MODEL),
    st.lists(st.sampled_from([1, 2, 7, 30, 1000, 100_000]), min_size=1, max_size=3),
    st.lists(st.sampled_from(["client", "model"]), min_size=1, max_size=20),
    st.sampled_from([("reject", "relay"), ("relay", "refuse"), ("reject", "refuse")]),
)
def test_nothing_ambiguous_passes(make_rig, from_client, from_model, sizes, turns, policy):
    """Whatever comes: what passes is a beginning of what came, all is counted, and the model is never shown
    a head that two readers could read differently.
    """
    if len(from_client) > 10_000:
        sizes = [max(size, 1000) for size in sizes]
    rig = make_rig(ambiguous_framing=policy[0], unrecordable=policy[1])
    tap = rig.tap()
    pieces = {"client": cut(from_client, sizes), "model": cut(from_model, sizes)}
    out = {"client": b"", "model": b""}
    answer = None
    order = itertools.cycle(turns)
    while answer is None and (pieces["client"] or pieces["model"]):
        side = next(order)
        if not pieces[side]:
            side = "model" if side == "client" else "client"
        follow = tap.from_client if side == "client" else tap.from_model
        try:
            out[side] += follow(pieces[side].pop(0), rig.now())
        except Refused as refused:
            out[side] += refused.onward
            answer = refused.answer
        rig.check_balance()
    if answer is not None:
        assert rig.row["open"] == 0
        assert rig.kept
        assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 502 "))
    tap.lost(EndedBy.CLIENT, rig.now())
    assert rig.row["open"] == 0
    rig.check_balance()
    assert from_client.startswith(rig.without_added(out["client"]))
    assert from_model.startswith(rig.without_added(out["model"]))
    passes_unread = rig.row["opaque"] or any(
        call.protocol in (Protocol.OPAQUE, Protocol.WEBSOCKET) and "refused" not in call.flags
        for call in rig.kept
    )
    if not passes_unread and not re.search(rb"connect|upgrade", from_client, re.IGNORECASE):
        framer = RequestFramer()
        stops = [value for kind, value, _ in framer.feed(out["client"])[0] if kind is Kind.STOP]
        assert Stop.AMBIGUOUS not in stops
