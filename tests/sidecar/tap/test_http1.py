"""HTTP/1 tap: ids, pairing, capture, ends, and what it does when it can't follow."""

import pytest

from sidecar.exchange import EndedBy, Protocol
from sidecar.protocols import MAX_HEAD

POST = b"POST /v1/predict?x=1 HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GET = b"GET /a HTTP/1.1\r\nHost: m\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


def stamped(message, line):
    """`message` with `line` as the last of its first head."""
    head, _, body = message.partition(b"\r\n\r\n")
    return head + b"\r\n" + line + b"\r\n" + body


def test_one_call(make_rig):
    """A call is recorded with all that passed; the id is added as one line to each head, and nowhere else."""
    rig = make_rig()
    tap = rig.tap()
    assert tap.from_client(POST, 10) == stamped(POST, rig.added())
    assert tap.from_model(OK, 30) == stamped(OK, rig.added())
    (call,) = rig.kept
    assert (call.call_number, call.route, call.protocol) == (1, 3, Protocol.HTTP1)
    assert (call.client_address, call.upstream_connected) == ("192.0.2.1:5", 7)
    assert (call.started, call.started_wall_ns) == (10, 1_000_010)
    assert (call.request_completed, call.first_response_byte, call.ended) == (10, 30, 30)
    assert (call.method, call.target, call.status) == (b"POST", b"/v1/predict?x=1", 200)
    assert call.request_head == POST[:-5]
    assert call.response_head == OK[:-2]
    assert (call.request.captured_pieces, call.request.size) == ([b"hello"], 5)
    assert (call.response.captured_pieces, call.response.size) == ([b"hi"], 2)
    assert call.response.piece_times == [(30, 2)]
    assert call.ended_by is EndedBy.MODEL
    assert call.request_id == rig.made[0]
    assert rig.count() == {"seen": 1, "handed_over": 1}


def test_byte_by_byte(make_rig):
    """Only heads are held back; body bytes go on as they come, and the record is the same."""
    rig = make_rig()
    tap = rig.tap()
    out = [tap.from_client(POST[i : i + 1], 1) for i in range(len(POST))]
    assert b"".join(out) == stamped(POST, rig.added())
    assert out[-5:] == [b"h", b"e", b"l", b"l", b"o"]
    back = [tap.from_model(OK[i : i + 1], 100 + i) for i in range(len(OK))]
    assert b"".join(back) == stamped(OK, rig.added())
    (call,) = rig.kept
    assert b"".join(call.request.captured_pieces) == b"hello"
    # The response began when its first byte came, not when its head was complete.
    assert call.first_response_byte == 100
    assert call.response.piece_count == 2


def test_callers_id(make_rig):
    """A caller's id that can serve is the call's; the request passes as it came, the response gets the id."""
    rig = make_rig()
    tap = rig.tap()
    request = b"GET / HTTP/1.1\r\nX-Request-Id: abc\r\n\r\n"
    assert tap.from_client(request, 1) == request
    assert tap.from_model(OK, 2) == stamped(OK, b"x-request-id: abc\r\n")
    assert rig.kept[0].request_id == b"abc"
    assert rig.made == []


@pytest.mark.parametrize("caller", [b"a b", b"\xe4", b"a" * 129, b""])
def test_callers_id_that_cannot_serve(make_rig, caller):
    """It is left as it stands and recorded, cut; the call has an id of its own, which the response gets."""
    rig = make_rig()
    tap = rig.tap()
    request = b"GET / HTTP/1.1\r\nX-Request-Id: " + caller + b"\r\n\r\n"
    assert tap.from_client(request, 1) == request
    assert tap.from_model(OK, 2) == stamped(OK, rig.added())
    assert rig.kept[0].request_id == rig.made[0]
    assert rig.kept[0].client_request_id == caller[:128]


def test_no_room_for_an_id(make_rig):
    """A head so near to a usual limit that its reader could refuse it passes as it is, and that is told."""
    rig = make_rig()
    tap = rig.tap()
    many = b"A: b\r\n" * 99
    request = stamped(GET, many[:-6])
    assert tap.from_client(request, 1) == request
    answer = stamped(OK, many)
    assert tap.from_model(answer, 2) == answer
    (call,) = rig.kept
    assert (call.flags, call.request_id, call.client_request_id) == (["id_not_added"], rig.made[0], b"")
    assert call.model_request_id == b""
    assert rig.row["id_not_added"] == 2


def test_models_own_id(make_rig):
    """A model that answers with an id of its own keeps it; both are recorded."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET, 1)
    answer = stamped(OK, b"X-Request-ID: of-the-model\r\n")
    assert tap.from_model(answer, 2) == answer
    assert rig.kept[0].model_request_id == b"of-the-model"
    assert rig.kept[0].request_id == rig.made[0]


def test_two_sidecars_in_a_row(make_rig):
    """The second of two adds nothing to the request, and both go by the same id."""
    near, far = make_rig(), make_rig()
    first, second = near.tap(), far.tap()
    between = first.from_client(POST, 1)
    assert second.from_client(between, 2) == between
    first.from_model(second.from_model(OK, 3), 4)
    assert near.kept[0].request_id == far.kept[0].request_id == near.made[0]
    assert near.kept[0].model_request_id == b""


def test_traceparent(make_rig):
    """`traceparent` is recorded, and passed on."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(stamped(GET, b"traceparent: 00-ab-cd-01\r\n"), 1)
    tap.from_model(OK, 2)
    assert rig.kept[0].traceparent == b"00-ab-cd-01"


@pytest.mark.parametrize("target", [b"/health", b"/metrics?x=1", b"/v2/health/ready", b"http://m/ping?a"])
def test_skipped_paths(make_rig, target):
    """Paths that are never recorded pass untouched, and are counted."""
    rig = make_rig()
    tap = rig.tap()
    request = b"GET " + target + b" HTTP/1.1\r\n\r\n"
    assert tap.from_client(request, 1) == request
    assert tap.from_model(OK, 2) == OK
    assert tap.from_client(GET, 3) != GET
    tap.from_model(OK, 4)
    assert rig.count() == {"seen": 2, "skipped": 1, "handed_over": 1}


@pytest.mark.parametrize(
    "target", [b"/healthy", b"/a/health", b"/v2/healthy", b"http://health", b"*", b"?/health"]
)
def test_other_paths(make_rig, target):
    """Paths that only look alike are recorded."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(b"GET " + target + b" HTTP/1.1\r\n\r\n", 1)
    tap.from_model(OK, 2)
    assert rig.count() == {"seen": 1, "handed_over": 1}


def test_pipelined(make_rig):
    """Responses belong to requests in order, with skipped ones between, all in one read each way."""
    rig = make_rig()
    tap = rig.tap()
    skipped = b"GET /health HTTP/1.1\r\n\r\n"
    head = b"HEAD /b HTTP/1.1\r\n\r\n"
    out = tap.from_client(GET + skipped + POST + head, 1)
    ids = [rig.added(i) for i in range(3)]
    assert out == stamped(GET, ids[0]) + skipped + stamped(POST, ids[1]) + stamped(head, ids[2])
    bodiless = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    back = tap.from_model(EMPTY + OK + OK + bodiless, 2)
    assert back == stamped(EMPTY, ids[0]) + OK + stamped(OK, ids[1]) + stamped(bodiless, ids[2])
    assert [(call.method, call.status, call.response.size) for call in rig.kept] == [
        (b"GET", 204, 0),
        (b"POST", 200, 2),
        (b"HEAD", 200, 0),
    ]
    rig.check_balance()


def test_interim_responses(make_rig):
    """100 and 103 pass untouched; the final response is the call's."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(POST[:-5], 1)
    for interim in (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"):
        assert tap.from_model(interim, 2) == interim
    assert tap.from_client(b"hello", 3) == b"hello"
    assert tap.from_model(OK, 4) == stamped(OK, rig.added())
    (call,) = rig.kept
    assert (call.status, call.request_completed, call.first_response_byte) == (200, 3, 4)


def test_chunked(make_rig):
    """Captured bodies are free of chunk framing; trailers are kept; the bytes pass as they are."""
    rig = make_rig()
    tap = rig.tap()
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    request = b"POST / HTTP/1.1\r\n" + chunked + b"3\r\nabc\r\n2;e=f\r\nde\r\n0\r\nSum: 1\r\n\r\n"
    assert tap.from_client(request, 1) == stamped(request, rig.added())
    tap.from_model(b"HTTP/1.1 200 OK\r\n" + chunked, 2)
    for now, chunk in enumerate([b"4\r\nwxyz\r\n", b"1\r\n!\r\n", b"0\r\nA: b\r\nC: d\r\n\r\n"], 3):
        assert tap.from_model(chunk, now) == chunk
    (call,) = rig.kept
    assert b"".join(call.request.captured_pieces) == b"abcde"
    assert call.request_trailers == [(b"Sum", b"1")]
    assert call.response_trailers == [(b"A", b"b"), (b"C", b"d")]
    assert call.response.piece_times == [(3, 4), (4, 1)]
    assert (call.first_response_byte, call.ended) == (2, 5)


def test_until_close(make_rig):
    """A body without a length is complete when the model ends."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET, 1)
    tap.from_model(b"HTTP/1.0 200 OK\r\n\r\nab", 2)
    tap.from_model(b"cd", 3)
    assert rig.kept == []
    assert tap.model_ended(4) == b""
    (call,) = rig.kept
    assert (call.ended_by, call.response.size, call.ended) == (EndedBy.MODEL, 4, 4)


def test_early_answer(make_rig):
    """An answer that comes before its request is complete ends the call, settled with the request."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(POST[:-3], 1)
    tap.from_model(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", 2)
    assert rig.kept == []
    assert tap.from_client(b"llo" + GET, 3) == b"llo" + stamped(GET, rig.added())
    (call,) = rig.kept
    assert (call.status, call.ended, call.request_completed) == (413, 2, 3)
    assert call.request.size == 5
    tap.from_model(OK, 4)
    assert len(rig.kept) == 2
    rig.check_balance()


def test_early_answer_then_lost(make_rig):
    """If the rest of such a request never comes, the call is as complete as its answer."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(POST[:-3], 1)
    tap.from_model(OK, 2)
    tap.lost(EndedBy.CLIENT, 3)
    (call,) = rig.kept
    assert (call.ended_by, call.ended, call.request_completed) == (EndedBy.MODEL, 2, -1)
    rig.check_balance()


@pytest.mark.parametrize("by", [EndedBy.CLIENT, EndedBy.MODEL_ABORTED, EndedBy.RELAY])
def test_broken_off(make_rig, by):
    """A connection that is lost in the middle of a stream leaves a record of what was seen."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET + GET, 1)
    tap.from_model(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", 2)
    tap.lost(by, 3)
    tap.lost(by, 4)
    assert [(call.ended_by, call.status, call.response.size, call.ended) for call in rig.kept] == [
        (by, 200, 2, 3),
        (by, 0, 0, 3),
    ]
    rig.check_balance()


def test_model_ends_too_soon(make_rig):
    """A model that ends before its answer is complete has aborted the call."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET, 1)
    tap.from_model(b"HTTP/1.1 200 OK\r\nContent-Le", 2)
    assert tap.model_ended(3) == b"HTTP/1.1 200 OK\r\nContent-Le"
    assert [call.ended_by for call in rig.kept] == [EndedBy.MODEL_ABORTED]


@pytest.mark.parametrize("by", [None, EndedBy.MODEL_ABORTED])
def test_model_follows_a_client_that_ended(make_rig, by):
    """Where the client ends first, an answer that then stops was broken off by the client."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET, 1)
    tap.from_model(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", 2)
    tap.client_ended(3)
    tap.model_ended(4) if by is None else tap.lost(by, 4)
    assert [call.ended_by for call in rig.kept] == [EndedBy.CLIENT]
    rig.check_balance()


def test_half_close(make_rig):
    """A client that only ends its side still gets its answer recorded; an incomplete head passes as it is."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET + b"GET /b HT", 1)
    assert tap.client_held == b"GET /b HT"
    assert tap.client_ended(2) == b"GET /b HT"
    assert tap.client_held == b""
    tap.from_model(OK, 3)
    assert rig.count() == {"seen": 1, "handed_over": 1}


# -- other protocols begin

UPGRADE = b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def test_upgrade(make_rig):
    """101 ends the call; what follows, even in the same read, is a stretch of its own, linked to the call."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(UPGRADE, 1)
    assert tap.from_model(SWITCHING + b"\x81\1a", 2) == stamped(SWITCHING, rig.added(0)) + b"\x81\1a"
    assert tap.from_client(b"GET / HTTP/1.1\r\n\r\n", 3) == b"GET / HTTP/1.1\r\n\r\n"
    tap.client_ended(4)
    tap.model_ended(5)
    call, rest = rig.kept
    assert (call.protocol, call.status, call.ended_by) == (Protocol.HTTP1, 101, EndedBy.MODEL)
    assert (rest.protocol, rest.ended_by, rest.ended) == (Protocol.WEBSOCKET, EndedBy.MODEL, 5)
    assert (rest.method, rest.target, rest.status) == (b"GET", b"/ws", 101)
    assert (rest.request_head, rest.response_head) == (call.request_head, call.response_head)
    assert (rest.request_id, rest.traceparent) == (call.request_id, call.traceparent)
    assert rest.request.captured_pieces == [b"GET / HTTP/1.1\r\n\r\n"]
    assert rest.response.captured_pieces == [b"\x81\1a"]
    assert rig.count() == {"seen": 2, "handed_over": 2, "opaque_connections": 1}


@pytest.mark.parametrize(
    ("asked", "agreed"), [(b"h2c", b"h2c"), (b"websocket", b"other"), (b"h2c, WebSocket", b"WEBSOCKET")]
)
def test_upgrade_to_what(make_rig, asked, agreed):
    """Only what both heads name is WebSocket, in any case; other protocols are opaque, under the same id."""
    rig = make_rig()
    tap = rig.tap()
    request = UPGRADE.replace(b"websocket", asked)
    answer = SWITCHING.replace(b"websocket", agreed)
    tap.from_client(request, 1)
    assert tap.from_model(answer, 2) == stamped(answer, rig.added(0))
    assert tap.from_model(b"x", 3) == b"x"
    tap.lost(EndedBy.CLIENT, 4)
    call, rest = rig.kept
    is_websocket = agreed == b"WEBSOCKET"
    assert rest.protocol is (Protocol.WEBSOCKET if is_websocket else Protocol.OPAQUE)
    assert (rest.request_id, rest.target) == (call.request_id, b"/ws")
    assert (rest.request_head == b"") is not is_websocket


def test_upgrade_on_a_skipped_path(make_rig):
    """What begins on a path that is never recorded is not recorded either."""
    rig = make_rig()
    tap = rig.tap()
    request = UPGRADE.replace(b"/ws", b"/health")
    assert tap.from_client(request, 1) == request
    assert tap.from_model(SWITCHING + b"x", 2) == SWITCHING + b"x"
    assert tap.from_client(b"y", 3) == b"y"
    assert not tap.is_idle
    tap.lost(EndedBy.CLIENT, 4)
    assert rig.count() == {"seen": 2, "skipped": 2}


def test_unasked_switch(make_rig):
    """A 101 that no request asked for is an answer that nobody expects."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET, 1)
    assert tap.from_model(SWITCHING, 2) == SWITCHING
    tap.lost(EndedBy.RELAY, 3)
    assert [call.flags for call in rig.kept] == [["response_unexpected"], ["response_unexpected"]]
    assert "framing_ambiguous" not in rig.count()


def test_upgrade_refused(make_rig):
    """After a refused upgrade the next request is followed."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(UPGRADE, 1)
    tap.from_model(OK, 2)
    assert tap.from_client(GET, 3) == stamped(GET, rig.added())
    tap.from_model(OK, 4)
    assert rig.count() == {"seen": 2, "handed_over": 2}


def test_upgrade_behind_another_call(make_rig):
    """The answer to an earlier request says nothing about the upgrade behind it."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET + UPGRADE, 1)
    tap.from_model(OK, 2)
    assert tap.from_client(GET, 3) == GET
    assert rig.count()["framing_ambiguous"] == 1


def test_connect(make_rig):
    """2xx to CONNECT begins an opaque stretch; a refusal does not."""
    rig = make_rig()
    connect = b"CONNECT a:443 HTTP/1.1\r\n\r\n"
    tap = rig.tap()
    tap.from_client(connect, 1)
    tap.from_model(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", 2)
    tap.from_client(connect, 3)
    tap.from_model(b"HTTP/1.1 200 OK\r\n\r\n", 4)
    assert tap.from_client(GET, 5) == GET
    tap.lost(EndedBy.CLIENT, 6)
    assert [call.protocol for call in rig.kept] == [Protocol.HTTP1, Protocol.HTTP1, Protocol.OPAQUE]


# -- what can't be followed


def test_ambiguous_request(make_rig):
    """From an ambiguous request on nothing is added, in either direction; the rest is one opaque record."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET, 1)
    smuggled = b"POST /x HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET
    assert tap.from_client(smuggled + GET, 2) == smuggled + GET
    assert tap.from_model(OK + OK, 3) == OK + OK
    tap.lost(EndedBy.CLIENT, 4)
    call, rest = rig.kept
    assert (call.flags, call.ended_by) == (["framing_ambiguous"], EndedBy.RELAY)
    assert (rest.flags, rest.protocol) == (["framing_ambiguous"], Protocol.OPAQUE)
    assert (rest.method, rest.target) == (b"POST", b"/x")
    assert rest.request.captured_pieces == [smuggled + GET]
    assert rest.response.captured_pieces == [OK + OK]
    assert rig.count() == {"seen": 2, "handed_over": 2, "framing_ambiguous": 1, "opaque_connections": 1}
    rig.check_balance()


def test_ambiguous_response(make_rig):
    """The same when the response is the ambiguous one."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET, 1)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd"
    assert tap.from_model(answer, 2) == answer
    assert tap.from_client(GET, 3) == GET
    tap.lost(EndedBy.RELAY, 4)
    assert [call.flags for call in rig.kept] == [["framing_ambiguous"], ["framing_ambiguous"]]


def test_held_bytes_of_the_other_direction(make_rig):
    """A head that was held when the other direction became ambiguous goes on with what follows it."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET + b"GET /b HTTP/1.1\r\nHo", 1)
    tap.from_model(b"HTTP/1.1 200 OK\n\n", 2)
    assert tap.from_client(b"st: m\r\n\r\n", 3) == b"GET /b HTTP/1.1\r\nHost: m\r\n\r\n"
    tap.from_model(b"x", 4)
    tap.lost(EndedBy.RELAY, 5)
    assert b"".join(rig.kept[1].request.captured_pieces) == b"GET /b HTTP/1.1\r\nHost: m\r\n\r\n"


def test_head_too_large(make_rig):
    """A head beyond the limit is relayed; the rest of the connection is counted, without a record."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET, 1)
    large = b"GET /b HTTP/1.1\r\nA: " + b"a" * MAX_HEAD
    assert tap.from_client(large, 2) == large
    assert tap.from_client(b"\r\n\r\n", 3) == b"\r\n\r\n"
    assert tap.from_model(OK, 4) == OK
    tap.lost(EndedBy.CLIENT, 5)
    assert [call.flags for call in rig.kept] == [["head_too_large"]]
    assert rig.count() == {"seen": 2, "handed_over": 1, "opaque": 1, "heads_too_large": 1}


def test_too_many_unanswered(make_rig):
    """Requests without end and without answers are not kept in memory: the tap detaches."""
    rig = make_rig()
    tap = rig.tap()
    sent = returned = 0
    for now in range(300):
        returned += len(rig.without_added(tap.from_client(GET * 10, now)))
        sent += len(GET) * 10
    assert returned == sent
    assert rig.row["open"] == 0
    assert rig.row["opaque"] == rig.row["too_many_unanswered"] == 1
    assert rig.kept[0].flags == ["too_many_unanswered"]
    assert rig.row["seen"] < 2200
    rig.check_balance()


def test_unasked_response(make_rig):
    """A response that no request asked for ends the following."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET, 1)
    timeout = b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n"
    assert tap.from_model(EMPTY + timeout, 2) == stamped(EMPTY, rig.added(0)) + timeout
    tap.lost(EndedBy.RELAY, 3)
    assert [call.flags for call in rig.kept] == [[], ["response_unexpected"]]
    assert "framing_ambiguous" not in rig.count()


def test_abandoned(make_rig):
    """After a fault of the tap its open calls are shed, and the rest of the connection is counted."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(POST + GET, 1)
    tap.abandon(2)
    assert rig.count() == {"seen": 3, "shed_tap_fault": 2, "opaque": 1}
    rig.check_balance()


def test_held_survives_a_fault(make_rig):
    """When a call raises, what is held and the data are together exactly what is still to be forwarded."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(GET[:10], 1)

    def fail():
        raise RuntimeError

    rig.context.new_request_id = fail
    with pytest.raises(RuntimeError):
        tap.from_client(GET[10:], 2)
    assert tap.client_held == GET[:10]
    tap.abandon(3)
    rig.check_balance()
