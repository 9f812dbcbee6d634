"""Law 2 and law 4 as properties: whatever passes, in whatever pieces, out equals in less the added lines."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.exchange import EndedBy

FROM_CLIENT = [
    b"GET / HTTP/1.1\r\nHost: m\r\n\r\n",
    b"GET /health HTTP/1.1\r\n\r\n",
    b"POST /p HTTP/1.1\r\nX-Request-ID: mine\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n",
    b"POST /s HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\n\n",
    b"GET / HTTP/1.1\r\nA: " + b"a" * 70_000,
    b"\r\n",
    b"\r",
    b"\x16\x03\x01",
]
FROM_MODEL = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nX-Request-Id: yours\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\1a",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 500 Oh\r\n\r\nsome error",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    b"220 mail\r\n",
    b"\0\0\0\4",
    b"\n",
]


def streams(fragments: list[bytes]) -> st.SearchStrategy[bytes]:
    """Messages in any order, with any bytes between and any byte changed."""

    @st.composite
    def stream(draw: st.DrawFn) -> bytes:
        data = bytearray(
            b"".join(draw(st.lists(st.sampled_from(fragments) | st.binary(max_size=8), max_size=6)))
        )
        if data and draw(st.booleans()):
            data[draw(st.integers(0, min(len(data) - 1, 300)))] = draw(st.sampled_from(b"\r\n\0 :;0a\xff"))
        return bytes(data)

    return stream()


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in pieces of those sizes, in turn."""
    pieces, at, turn = [], 0, 0
    while at < len(data):
        pieces.append(data[at : at + sizes[turn % len(sizes)]])
        at += len(pieces[-1])
        turn += 1
    return pieces


@settings(max_examples=300)
@given(
    streams(FROM_CLIENT),
    streams(FROM_MODEL),
    st.lists(st.sampled_from([1, 2, 7, 30, 1000, 100_000]), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
    st.sampled_from(["ends", "client", "model"]),
)
def test_out_is_in(make_rig, from_client, from_model, sizes, random, ending):
    """Any bytes, in any pieces and order: nothing raises, nothing is changed, everything is counted."""
    if len(from_client) > 10_000:
        sizes = [max(size, 1000) for size in sizes]
    rig = make_rig(sample_rate="0.5")
    tap = rig.tap()
    pieces = {"client": cut(from_client, sizes), "model": cut(from_model, sizes)}
    out = {"client": b"", "model": b""}
    while pieces["client"] or pieces["model"]:
        side = random.choice([side for side in pieces if pieces[side]])
        pass_on = tap.from_client if side == "client" else tap.from_model
        out[side] += pass_on(pieces[side].pop(0), rig.now())
        rig.check_balance()
    if ending == "ends":
        out["client"] += tap.client_ended(rig.now())
        out["model"] += tap.model_ended(rig.now())
        assert tap.client_held == tap.model_held == b""
    assert rig.without_added(out["client"] + tap.client_held) == from_client
    assert rig.without_added(out["model"] + tap.model_held) == from_model
    tap.lost(EndedBy.MODEL_ABORTED if ending == "model" else EndedBy.CLIENT, rig.now())
    assert rig.row["open"] == 0
    rig.check_balance()


@given(
    st.lists(st.sampled_from(FROM_CLIENT[:4]), min_size=1, max_size=5),
    st.lists(st.sampled_from([1, 3, 20, 10_000]), min_size=1, max_size=3),
)
def test_records_do_not_depend_on_pieces(make_rig, messages, sizes):
    """The same calls in other pieces are the same records, but for times and the pieces' own limits."""
    whole, pieced = make_rig(), make_rig()
    answers = FROM_MODEL[1] * len(messages)
    for rig, parts in ((whole, [10_000]), (pieced, sizes)):
        tap = rig.tap()
        for piece in cut(b"".join(messages), parts):
            tap.from_client(piece, 1)
        for piece in cut(answers, parts):
            tap.from_model(piece, 2)
        tap.lost(EndedBy.RELAY, 3)
    assert [essence(call) for call in whole.kept] == [essence(call) for call in pieced.kept]
    assert whole.count() == pieced.count()


def essence(call):
    return (
        call.target,
        call.status,
        call.request_id,
        call.request_head,
        call.response_head,
        b"".join(call.request.captured_pieces),
        b"".join(call.response.captured_pieces),
        call.request_trailers,
        call.ended_by,
        call.flags,
    )
