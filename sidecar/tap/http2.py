"""HTTP/2 tap: follows streams, adds the request id to header blocks, captures bodies; gRPC among them.

Pure. Besides what every tap promises: frames pass verbatim, but for the literal at the end of a first header
block, and one GOAWAY when the relay drains; both dynamic tables stay as they were. What can't be followed,
or not at a fair price, ends the following of the connection and is counted; what it keeps is bounded (under
8 MiB for a connection, bodies apart).
"""

from collections.abc import Callable
from typing import Final

from sidecar.exchange import EndedBy
from sidecar.protocols import (
    HTTP2_PREFACE,
    BlockLimitError,
    FrameError,
    HpackError,
    ListLimitError,
    forget_huffman,
    http2,
)
from sidecar.tap.connection_facts import ConnectionFacts
from sidecar.tap.http2_direction import Direction
from sidecar.tap.http2_floods import FloodError, Floods
from sidecar.tap.http2_receiver import Receiver
from sidecar.tap.http2_streams import Streams
from sidecar.tap.interface import Refused, TapContext
from sidecar.tap.opaque import OpaqueTap
from sidecar.tap.sampling import REFUSED

UNREADABLE: Final = "http2_unreadable"
HEADERS_TOO_LARGE: Final = "headers_too_large"

_UNFOLLOWABLE: Final = (FrameError, HpackError, FloodError)
# How long a relay that drains waits for a moment without open streams.
_PATIENCE: Final = 3_000_000_000
# What a relay that drains says: go elsewhere, all streams so far are served (section 6.8).
_GOODBYE: Final = http2.goaway_frame(http2.LAST_STREAM, http2.NO_ERROR)


class Http2Tap:
    """Follows one HTTP/2 connection."""

    __slots__ = (
        "_client",
        "_client_has_ended",
        "_client_takes",
        "_context",
        "_facts",
        "_is_leaving",
        "_is_within_frame",
        "_leaves_at",
        "_model",
        "_model_has_ended",
        "_model_takes",
        "_opened_before",
        "_rest",
        "_served_before",
        "_streams",
    )

    def __init__(self, context: TapContext, facts: ConnectionFacts) -> None:
        self._context = context
        self._facts = facts
        self._client_takes, self._model_takes = Receiver(), Receiver()
        floods = Floods(facts.accepted)
        self._streams = streams = Streams(context, facts, floods, self._client_takes, self._model_takes)
        self._client = Direction(
            _Requests(streams),
            self._client_takes,
            self._model_takes,
            floods=floods,
            work=streams,
            skip=len(HTTP2_PREFACE),
        )
        self._model = Direction(
            _Responses(streams), self._model_takes, self._client_takes, floods=floods, work=streams, skip=0
        )
        self._client_has_ended = self._model_has_ended = False
        # Follows the rest of the connection, once this tap no longer can.
        self._rest: OpaqueTap | None = None
        # What was sent to the client may end within a frame, though its parser is further.
        self._is_within_frame = False
        # The client has still to be told that the relay ends.
        self._is_leaving = False
        # Until when that may wait for all streams to end; how many were opened, and served, when it began.
        self._leaves_at = -1
        self._opened_before = self._served_before = 0

    # -- bytes

    def from_client(self, data: bytes, now: int) -> bytes:
        """See Tap."""
        if self._rest is not None:
            return _pass_on(self._client, self._rest.from_client, data, now)
        try:
            return self._client.follow(data, now)
        except _UNFOLLOWABLE as error:
            rest = self._stop_for(error, now)
            return _pass_on(self._client, rest.from_client, data, now)

    def from_model(self, data: bytes, now: int) -> bytes:
        """See Tap."""
        if self._rest is not None:
            return _pass_on(self._model, self._rest.from_model, data, now)
        try:
            return self._leave(data, now) if self._is_leaving else self._model.follow(data, now)
        except _UNFOLLOWABLE as error:
            # Where in a frame the client stands is only known if something was held, which begins one.
            self._is_within_frame = not self._model.held
            rest = self._stop_for(error, now)
            return _pass_on(self._model, rest.from_model, data, now)

    @property
    def client_held(self) -> bytes:
        """See Tap."""
        return self._client.held

    @property
    def model_held(self) -> bytes:
        """See Tap."""
        return self._model.held

    @property
    def held_since(self) -> int:
        """See Tap. What is held when the tap has stopped is to be given up at once."""
        held = [each.held_since for each in (self._client, self._model) if each.held]
        if held and self._rest is not None:
            return 0
        return min(held, default=-1)

    @property
    def weight(self) -> int:
        """See Tap."""
        return self._client.weight + self._model.weight + self._streams.weight

    # -- ends

    def client_ended(self, now: int) -> bytes:
        """See Tap."""
        held = self._client.take_held()
        self._client_has_ended = True
        if self._rest is not None:
            self._rest.from_client(held, now)
            self._rest.client_ended(now)
        return held

    def model_ended(self, now: int) -> bytes:
        """See Tap."""
        held = self._model.take_held()
        self._model_has_ended = True
        if self._rest is not None:
            self._rest.from_model(held, now)
            self._rest.model_ended(now)
        else:
            self._streams.settle_all(self._broken_off_by(EndedBy.MODEL_ABORTED), now)
        return held

    def lost(self, by: EndedBy, now: int) -> None:
        """See Tap."""
        if self._rest is not None:
            self._rest.lost(by, now)
        self._streams.settle_all(self._broken_off_by(by), now)

    def _broken_off_by(self, by: EndedBy) -> EndedBy:
        """Who ended the open calls: a model that ends once its client has ended only follows it."""
        return EndedBy.CLIENT if self._client_has_ended and by is EndedBy.MODEL_ABORTED else by

    @property
    def is_idle(self) -> bool:
        """See Tap."""
        if self._rest is not None:
            return self._rest.is_idle
        return self._streams.are_all_over and not self._client.held and not self._model.held

    def tick(self, now: int) -> None:
        """See Tap."""
        self._streams.tick(now)
        if self._rest is not None:
            self._rest.tick(now)

    def abandon(self, now: int) -> None:
        """See Tap."""
        self._streams.shed_all()
        if self._rest is None:
            self._rest = OpaqueTap.counting(self._context)
        else:
            self._rest.abandon(now)

    # -- what can't be followed any more

    def give_up(self, why: str, now: int) -> tuple[bytes, bytes]:
        """See Tap."""
        if self._rest is None:
            self._stop(why, now)
        return self._client.take_held(), self._model.take_held()

    def _stop_for(self, error: Exception, now: int) -> OpaqueTap:
        if isinstance(error, FloodError | BlockLimitError | ListLimitError):
            self._context.row.add("budget_exceeded")
            return self._stop(error.flag if isinstance(error, FloodError) else HEADERS_TOO_LARGE, now)
        return self._stop(UNREADABLE, now, http2.PROTOCOL_ERROR)

    def _stop(self, flag: str, now: int, code: int = http2.ENHANCE_YOUR_CALM) -> OpaqueTap:
        """Follow nothing any more: the calls that are open are cut, the rest of the connection is opaque.

        Raises Refused where the settings would rather end it; `code` is told to the client then.
        """
        refuses = self._context.settings.refuses_unrecordable
        flags = (flag, REFUSED) if refuses else (flag,)
        self._streams.settle_all(EndedBy.RELAY, now, flags)
        self._client.stop()
        self._model.stop()
        self._rest = rest = OpaqueTap.recording(self._context, self._facts, now)
        assert rest.call is not None
        rest.call.flags.extend(flags)
        if refuses:
            rest.lost(EndedBy.RELAY, now)
            raise Refused(answer=self._farewell(code))
        return rest

    def _farewell(self, code: int) -> bytes:
        """GOAWAY to the client, where it would not land within a frame."""
        if self._is_within_frame or self._model.left_of_frame or self._model_has_ended:
            return b""
        goaway = http2.goaway_frame(self._streams.highest, code)
        return goaway if self._model_takes.has_spoken else http2.EMPTY_SETTINGS + goaway

    # -- draining

    def drain(self, now: int) -> bytes:
        """See Tap.

        GOAWAY best comes right behind the end of a stream, when no other is open: there are clients that take
        it for the end of those that are, or of the next (h2, and so httpx). Who opens more and more, so that
        some always are, is told all the same; who is idle, right before the relay closes.
        """
        streams = self._streams
        if self._is_leaving and self._may_leave() and streams.are_all_over:
            return self._leave_now()
        if self._leaves_at < 0:
            self._is_leaving = self._rest is None
            self._leaves_at = now + _PATIENCE
            self._opened_before = streams.opened
            self._served_before = streams.opened if streams.are_all_over else streams.opened - 1
        return b""

    def _leave_now(self) -> bytes:
        self._is_leaving = False
        return _GOODBYE

    def _may_leave(self) -> bool:
        """What was sent to the client ends between frames, and GOAWAY would not be the first of them."""
        if self._rest is not None:  # no boundary is known any more
            return False
        says_so_itself = self._model_has_ended or self._streams.model_is_leaving
        return self._model_takes.has_spoken and not self._model.left_of_frame and not says_so_itself

    def _leave(self, data: bytes, now: int) -> bytes:
        """Follow `data` of the model, and say GOAWAY once it is time and between frames."""
        streams = self._streams
        is_late = now >= self._leaves_at and streams.opened > self._opened_before
        left = self._model.left_of_frame
        before = b""
        if is_late and 0 < left <= len(data):  # a boundary that no read may end at
            before = self._model.follow(data[:left], now) + self._leave_now()
            data = data[left:]
        out = before + self._model.follow(data, now)
        if not self._is_leaving or not self._may_leave():
            return out
        is_served = streams.are_all_over and streams.opened > self._served_before
        return out + self._leave_now() if is_late or is_served else out


def forget_remembered() -> None:
    """Give back what taps remember for speed in all connections, little as it is: see `forget_huffman`."""
    forget_huffman()


def _pass_on(direction: Direction, follow: Callable[[bytes, int], bytes], data: bytes, now: int) -> bytes:
    """What was held of a direction and `data`, in full; `follow` is told of it."""
    data = direction.held + data
    follow(data, now)
    direction.take_held()
    return data


class _Requests:
    """What the client's direction tells."""

    __slots__ = ("data", "fields", "late_fields", "reset")

    def __init__(self, streams: Streams) -> None:
        self.fields = streams.request_fields
        self.late_fields = streams.late_request
        self.data = streams.request_data
        self.reset = streams.client_resets

    def going_away(self, last_stream: int, now: int) -> None:
        """Of no interest: it speaks of pushed streams."""


class _Responses:
    """What the model's direction tells."""

    __slots__ = ("data", "fields", "going_away", "late_fields", "reset")

    def __init__(self, streams: Streams) -> None:
        self.fields = streams.response_fields
        self.late_fields = streams.late_response
        self.data = streams.response_data
        self.reset = streams.model_resets
        self.going_away = streams.model_goes_away
