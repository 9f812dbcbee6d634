"""The HTTP/2 tap between real peers of `h2` that do what they please: they hear what they would without it.

Acts of both ends and deliveries of any number of bytes are mixed, so settings and resets cross what is under
way. At the end the calls on record are the ones that the ends had.
"""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import h2.events
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.exchange import EndedBy, Exchange
from tests.oracles.http2 import End, Headers, frame, frames, spread

if TYPE_CHECKING:
    from tests.sidecar.tap.conftest import Rig

    MakeRig = Callable[..., Rig]

REQUEST: Headers = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/svc/Call"),
    (b":authority", b"model:80"),
]
GRPC: Headers = [*REQUEST, (b"te", b"trailers"), (b"content-type", b"application/grpc")]
ANSWER: Headers = [(b":status", b"200"), (b"content-type", b"application/json")]
TRAILERS: Headers = [(b"grpc-status", b"0"), (b"x-sum", b"1")]
FIELDS: list[Headers] = [
    [],
    [(b"x-a", b"1"), (b"x-b", b"2" * 40)],
    [(b"x-long", b"v" * 300)],
    [(b"x-request-id", b"mine")],
    [(b"authorization", b"secret")],
    [(b"x-even-longer", b"w" * 20_000)],
]
SETTINGS: list[dict[int, int]] = [
    {SettingCodes.HEADER_TABLE_SIZE: 0},
    {SettingCodes.HEADER_TABLE_SIZE: 64},
    {SettingCodes.HEADER_TABLE_SIZE: 4096},
    {SettingCodes.HEADER_TABLE_SIZE: 65_536},
    {SettingCodes.HEADER_TABLE_SIZE: 30, SettingCodes.INITIAL_WINDOW_SIZE: 70_000},
    {SettingCodes.MAX_FRAME_SIZE: (1 << 24) - 1},
    {SettingCodes.MAX_FRAME_SIZE: 16_384, SettingCodes.HEADER_TABLE_SIZE: 100},
    {SettingCodes.MAX_HEADER_LIST_SIZE: 700},
    {SettingCodes.MAX_HEADER_LIST_SIZE: 260},
    {SettingCodes.MAX_CONCURRENT_STREAMS: 50},
]


class Conversation:
    """Two ends, the tap between them, and what is known of each stream."""

    def __init__(self, rig: "Rig", rewrite: Callable[[bytes], bytes]) -> None:
        self.rig = rig
        numbers = itertools.count()
        rig.context.new_request_id = lambda: b"tap-%032d" % next(numbers)
        self.tap = rig.tap()
        self.client, self.model = End(True, rewrite), End(False, rewrite)
        # What may still be sent, by stream: "head", "data" or nothing.
        self.asking: dict[int, str] = {}
        self.answering: dict[int, str] = {}
        self.reset: set[int] = set()
        self.pushed = itertools.count(2, 2)
        self.is_going_away = False

    # -- bytes

    def deliver(self, from_client: bool, size: int) -> None:
        """The next `size` bytes of one end, in one read."""
        sender, receiver = (self.client, self.model) if from_client else (self.model, self.client)
        read, sender.outgoing = sender.outgoing[:size], sender.outgoing[size:]
        if not read:
            return
        take = self.tap.from_client if from_client else self.tap.from_model
        before = len(receiver.heard)
        receiver.hear(take(read, self.rig.now()), read)
        for event in receiver.heard[before:]:
            self._note(from_client, event)

    def _note(self, from_client: bool, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.answering[event.stream_id] = "head"
        elif isinstance(event, h2.events.StreamReset):
            self.asking.pop(event.stream_id, None)
            self.answering.pop(event.stream_id, None)
            self.reset.add(event.stream_id)

    def settle(self) -> None:
        """Deliver everything, until neither end has more to say."""
        while self.client.outgoing or self.model.outgoing:
            self.deliver(True, 1 << 20)
            self.deliver(False, 1 << 20)

    # -- acts

    def open(self, headers: Headers, ends: bool, priority: bool) -> None:
        stream = self.client.tapped.get_next_available_stream_id()
        more = (
            {"priority_weight": 7, "priority_depends_on": 0, "priority_exclusive": True} if priority else {}
        )
        if (
            self.client.act(lambda each: each.send_headers(stream, headers, end_stream=ends, **more))
            and not ends
        ):
            self.asking[stream] = "data"

    def answer(self, stream: int, headers: Headers, ends: bool) -> None:
        if self.model.act(lambda each: each.send_headers(stream, headers, end_stream=ends)):
            self._go_on(self.answering, stream, ends)

    def data(self, end: End, stream: int, size: int, padding: int, ends: bool) -> None:
        window = end.tapped.local_flow_control_window(stream)
        if size + padding + 1 > window:
            return
        body, padded = bytes((stream % 256,)) * size, padding or None
        if end.act(lambda each: each.send_data(stream, body, end_stream=ends, pad_length=padded)):
            self._go_on(self.asking if end.client_side else self.answering, stream, ends)

    def trailers(self, end: End, stream: int) -> None:
        if end.act(lambda each: each.send_headers(stream, TRAILERS, end_stream=True)):
            self._go_on(self.asking if end.client_side else self.answering, stream, True)

    def break_off(self, end: End, stream: int, code: int) -> None:
        if end.act(lambda each: each.reset_stream(stream, code)):
            self.asking.pop(stream, None)
            self.answering.pop(stream, None)
            self.reset.add(stream)

    def push(self, stream: int) -> None:
        promised = next(self.pushed)
        asked = [(b":method", b"GET"), *REQUEST[1:], (b"x-pushed", b"%d" % promised)]
        if self.model.act(lambda each: each.push_stream(stream, promised, asked)):
            self.model.act(lambda each: each.send_headers(promised, [*ANSWER, (b"x-pushed", b"1")]))
            self.model.act(lambda each: each.send_data(promised, b"pushed", end_stream=True))

    def change_settings(self, end: End, changed: dict[int, int]) -> None:
        """One change at a time: h2 takes an acknowledgement for that of all that it has sent."""
        if end.changes == sum(isinstance(each, h2.events.SettingsAcknowledged) for each in end.heard):
            end.changes += end.act(lambda each: each.update_settings(changed))

    def unknown_frame(self, end: End, kind: int, payload: bytes) -> None:
        end.outgoing += frame(kind, 0xFF, 0, payload)

    @staticmethod
    def _go_on(sides: dict[int, str], stream: int, ends: bool) -> None:
        if ends:
            del sides[stream]
        else:
            sides[stream] = "data"

    def act(self, name: str, numbers: tuple[int, int, int], flag: bool) -> None:
        """One act by name; the numbers choose among what there is."""
        first, second, third = numbers
        end = self.client if flag else self.model
        sides = self.asking if flag else self.answering
        stream = sorted(sides)[first % len(sides)] if sides else 0
        if name == "open":
            headers = (REQUEST, GRPC)[first % 2] + FIELDS[second % len(FIELDS)]
            is_small = len(headers[-1][1]) < 1000  # h2 makes a frame with priority too long
            self.open(headers, flag, is_small and third % 4 == 0)
        elif name == "settings":
            self.change_settings(end, SETTINGS[first % len(SETTINGS)])
        elif name == "ping":
            end.act(lambda each: each.ping(bytes((second % 256,)) * 8))
        elif name == "unknown":
            self.unknown_frame(end, 0xB + first % 200, b"u" * (second % 50))
        elif name == "window":
            end.act(lambda each: each.increment_flow_control_window(1 + second))
        elif name == "prioritize" and self.client.tapped.open_outbound_streams:
            self.client.act(lambda each: each.prioritize(1, weight=1 + second % 256))
        elif name == "deliver":
            self.deliver(flag, (1, 3, 9, 30, 200, 1 << 20, 1 << 20, 1 << 20)[first % 8])
        elif stream:
            self._act_on(name, end, stream, numbers, sides[stream] == "head")

    def _act_on(
        self, name: str, end: End, stream: int, numbers: tuple[int, int, int], is_at_head: bool
    ) -> None:
        _, second, third = numbers
        if name == "reset":
            self.break_off(end, stream, second % 14)
        elif name == "push" and not end.client_side and is_at_head:
            self.push(stream)
        elif is_at_head:
            if name == "informational":
                self.model.act(
                    lambda each: each.send_headers(stream, [(b":status", b"103"), (b"link", b"x")])
                )
            else:
                self.answer(stream, ANSWER + FIELDS[second % len(FIELDS)], third % 3 == 0)
        elif name == "trailers":
            self.trailers(end, stream)
        elif name == "data":
            self.data(
                end, stream, (0, 1, 50, 5000, 16_000)[second % 5], (0, 0, 1, 200)[third % 4], third % 3 == 0
            )

    # -- the calls on record

    def check_calls(self) -> None:
        """What the ends heard is what is on record, for the calls that nobody broke off."""
        asked = _told_by_stream(self.model.heard, h2.events.RequestReceived)
        answered = _told_by_stream(self.client.heard, h2.events.ResponseReceived)
        calls = dict(
            zip(sorted(asked), sorted(self.rig.kept, key=lambda call: call.call_number), strict=True)
        )
        for stream, call in calls.items():
            if stream in self.reset or self.is_going_away:
                continue
            self._check_request(call, asked[stream])
            assert self.model.ids.get(stream, call.request_id) == call.request_id
            if stream in answered:
                self._check_response(call, answered[stream])
                assert self.client.ids.get(stream, call.request_id) == call.request_id
            is_over = asked[stream]["ended"] and answered.get(stream, {}).get("ended")
            assert call.ended_by is EndedBy.MODEL if is_over else EndedBy.CLIENT

    def _check_request(self, call: Exchange, told: dict[str, Any]) -> None:
        headers = told["headers"]
        assert (call.method, call.target) == (b"POST", b"/svc/Call")
        assert call.request_headers == [(b"host", b"model:80"), *headers[4:]]
        assert b"".join(call.request.captured_pieces) == told["body"]
        assert list(call.request_trailers) == told["trailers"]

    def _check_response(self, call: Exchange, told: dict[str, Any]) -> None:
        assert (call.status, call.response_headers) == (200, told["headers"][1:])
        assert b"".join(call.response.captured_pieces) == told["body"]
        assert list(call.response_trailers) == told["trailers"]


def _told_by_stream(heard: list[h2.events.Event], opening: type) -> dict[int, dict[str, Any]]:
    told: dict[int, dict[str, Any]] = {}
    for event in heard:
        stream: Any = getattr(event, "stream_id", None)
        if isinstance(event, opening) and stream % 2:
            headers = [tuple(each) for each in event.headers]
            told[stream] = {"headers": headers, "body": b"", "trailers": [], "ended": False}
        elif stream in told and isinstance(event, h2.events.DataReceived):
            told[stream]["body"] += event.data
        elif stream in told and isinstance(event, h2.events.TrailersReceived):
            told[stream]["trailers"] = [tuple(each) for each in event.headers]
        elif stream in told and isinstance(event, h2.events.StreamEnded):
            told[stream]["ended"] = True
    return told


# Weighted so that streams come far: each act that fits nothing does nothing.
ACTS = [
    *["open"] * 5,
    *["answer"] * 5,
    *["data"] * 6,
    *["trailers"] * 2,
    *["deliver"] * 8,
    *["settings"] * 3,
    *("informational", "push", "reset", "ping", "unknown", "window", "prioritize"),
]
acts = st.lists(
    st.tuples(st.sampled_from(ACTS), st.tuples(*[st.integers(0, 1000)] * 3), st.booleans()),
    min_size=15,
    max_size=60,
)


@settings(max_examples=60)
@given(acts, st.integers(0, 60), st.sampled_from([0, 0, 1, 40]), st.sampled_from(["lost", "goaway", "ends"]))
def test_real_peers_hear_what_was_said(
    make_rig: "MakeRig",
    acts: list[tuple[str, tuple[int, int, int], bool]],
    cut: int,
    padding: int,
    ending: str,
) -> None:
    """Whatever both ends do, whatever is under way: both hear and answer as without the tap, less the id."""
    rig = make_rig(body_limit_bytes="4MiB", sample_error_max_per_second="off")
    talk = Conversation(rig, lambda sent: b"".join(spread(each, cut, padding) for each in frames(sent)))
    for name, numbers, flag in acts:
        talk.act(name, numbers, flag)
        if talk.client.has_failed or talk.model.has_failed:
            return  # as they would have without the tap: that has been compared
    talk.settle()
    if talk.client.has_failed or talk.model.has_failed:
        return
    if ending == "goaway":
        talk.is_going_away = True
        talk.model.act(lambda each: each.close_connection(last_stream_id=1))
        talk.settle()
    assert "opaque_connections" not in rig.count()
    assert rig.row["seen"] == sum(isinstance(each, h2.events.RequestReceived) for each in talk.model.heard)
    if ending == "ends":
        assert talk.tap.client_ended(rig.now()) == talk.tap.model_ended(rig.now()) == b""
    talk.tap.lost(EndedBy.CLIENT, rig.now())
    rig.check_balance()
    talk.check_calls()


def test_an_older_acknowledgement_lifts_no_newer_limit(make_rig: "MakeRig") -> None:
    """A limit holds from when it is announced, whatever older settings are acknowledged after that."""
    talk = Conversation(make_rig(), lambda sent: sent)
    talk.open(REQUEST, True, False)
    talk.deliver(True, 1 << 20)
    talk.answer(1, ANSWER, True)
    talk.client.act(lambda each: each.update_settings({SettingCodes.MAX_HEADER_LIST_SIZE: 120}))
    talk.settle()
    assert talk.client.ids == {}
    assert talk.rig.row["id_not_added"] == 1
