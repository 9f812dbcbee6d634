"""HTTP/1 tap: follows the bytes of one connection, adds the request id, captures bodies.

Pure. Besides what every tap promises: from the moment that either direction is read as ambiguous, or another
protocol begins, nothing is added any more and the rest of the connection is a stretch of its own; calls that
are open then are settled as cut. Where the settings refuse what stopped it, no byte of that message is passed
on from where it could no longer be followed (a head: none at all); its client is told so once earlier
requests are answered. What it keeps of calls that wait for their answers is bounded by PENDING_BYTES.
"""

from typing import Final

from sidecar.exchange import EndedBy, Exchange
from sidecar.protocols import Kind, RequestHead, ResponseHead, parse_trailers
from sidecar.tap.connection_facts import ConnectionFacts
from sidecar.tap.http1_calls import PENDING_BYTES
from sidecar.tap.http1_heads import CLOSE_LINE, lacks_close
from sidecar.tap.http1_stops import Http1Stops
from sidecar.tap.interface import TapContext

ID_FIELD: Final = b"x-request-id: "

_HEAD: Final = Kind.HEAD
_DATA: Final = Kind.DATA
_END: Final = Kind.END
_TRAILERS: Final = Kind.TRAILERS


class Http1Tap(Http1Stops):
    """Follows one HTTP/1 connection."""

    __slots__ = ("_client_has_ended", "_client_since", "_is_draining", "_model_since")

    def __init__(self, context: TapContext, facts: ConnectionFacts) -> None:
        super().__init__(context, facts)
        # When the held part of a request, or of a response, began to arrive.
        self._client_since = self._model_since = 0
        self._client_has_ended = False
        self._is_draining = False

    def begin(self, held: bytes, since: int) -> None:
        """`held` came at `since`, before it was known that this is HTTP/1."""
        self.client_held = held
        self._client_since = since

    # -- the client's bytes

    def from_client(self, data: bytes, now: int) -> bytes:  # noqa: PLR0912
        """See Tap."""
        since = now
        if self.client_held:
            data = self.client_held + data
            since = self._client_since
        elif self._is_plain:
            whole = self._requests.whole(data)
            if whole is not None:
                return self._whole_request(data, *whole, now)
        if self._rest is not None:
            self._rest.from_client(data, now)
            self.client_held = b""
            return data
        if self._refusal is not None:
            return b""
        events, consumed = self._requests.feed(data)
        # Flat, as is its twin below: each call and look-up here is paid for by every call of a model.
        out: list[bytes] = []
        sent = 0
        for kind, value, end in events:
            if kind is _HEAD:
                added = self._request_head(value, since)
                if since != now:
                    self._waited(self._uploading, now - since)
                    since = now
                if added is not None:
                    out += (data[sent : end - 2], ID_FIELD, added, b"\r\n")
                    sent = end - 2
            elif kind is _DATA:
                if self._uploading is not None:
                    self._budget.capture(self._uploading, self._uploading.request, value)
            elif kind is _END:
                self._request_complete(now)
            elif kind is _TRAILERS:
                if self._uploading is not None:
                    self._uploading.request_trailers = parse_trailers(value)
            else:
                out.append(data[sent:end])
                return self._client_stopped(value, b"".join(out), data[end:], now)
        if consumed == len(data):
            onward = data
        else:
            self._client_since = now if consumed else since
            onward = data[:consumed]
        if sent:
            out.append(onward[sent:])
            onward = b"".join(out)
        if self._pending > PENDING_BYTES:
            self._too_many_unanswered(onward, now)
        self.client_held = data[consumed:]
        return onward

    def _whole_request(self, data: bytes, head: RequestHead, body: bytes, now: int) -> bytes:
        """What most requests are: one read that holds nothing else. The same as above, with less work."""
        added = self._request_head(head, now)
        call, self._uploading = self._uploading, None
        if call is not None:
            if body:
                self._budget.capture(call, call.request, body)
            call.request_completed = now
        if added is not None:
            data = b"%b%b%b\r\n\r\n%b" % (head.lines, ID_FIELD, added, body)
        if self._pending > PENDING_BYTES:
            self._too_many_unanswered(data, now)
        return data

    # -- the model's bytes

    def from_model(self, data: bytes, now: int) -> bytes:  # noqa: PLR0912
        """See Tap."""
        since = now
        if self.model_held:
            data = self.model_held + data
            since = self._model_since
        elif self._is_plain:
            whole = self._responses.whole(data)
            if whole is not None:
                return self._whole_response(data, *whole, now)
        if self._rest is not None:
            self._rest.from_model(data, now)
            self.model_held = b""
            return data
        events, consumed = self._responses.feed(data)
        out: list[bytes] = []
        sent = 0
        for kind, value, end in events:
            if kind is _HEAD:
                added = self._response_head(value, since)
                if since != now:
                    self._waited(self._calls[0], now - since)
                    since = now
                if added is not None:
                    out += (data[sent : end - 2], ID_FIELD, added, b"\r\n")
                    sent = end - 2
                if self._is_draining and self._is_to_close(value):
                    out += (data[sent : end - 2], CLOSE_LINE)
                    sent = end - 2
            elif kind is _DATA:
                call = self._calls[0]
                if call is not None:
                    self._budget.capture_timed(call, call.response, value, now)
            elif kind is _END:
                self._response_complete(now)
                if self._refusal is not None and not self._calls:
                    out.append(data[sent:end])
                    raise self._refused(b"".join(out), now, may_answer=not self._responses.is_last)
            elif kind is _TRAILERS:
                call = self._calls[0]
                if call is not None:
                    call.response_trailers = parse_trailers(value)
            else:
                out.append(data[sent:end])
                return self._model_stopped(value, b"".join(out), data[end:], events, now)
        if consumed == len(data):
            self.model_held = b""
        else:
            self._model_since = now if consumed else since
            self.model_held = data[consumed:]
            data = data[:consumed]
        if not sent:
            return data
        out.append(data[sent:])
        return b"".join(out)

    def _whole_response(self, data: bytes, head: ResponseHead, body: bytes, now: int) -> bytes:
        """What most responses are, likewise."""
        added = self._response_head(head, now)
        call = self._calls[0]
        if call is not None and body:
            self._budget.capture_timed(call, call.response, body, now)
        self._response_complete(now)
        return data if added is None else b"%b%b%b\r\n\r\n%b" % (head.lines, ID_FIELD, added, body)

    def _waited(self, call: Exchange | None, nanoseconds: int) -> None:
        """A head was held that long, of `call` if it is recorded."""
        if call is not None:
            call.relay_wait_ns += nanoseconds

    def _is_to_close(self, head: ResponseHead) -> bool:
        """Whether this response tells its client to go elsewhere: none that others are to follow.

        A client that is told so takes no answers to what it has sent beside (RFC 9112, section 9.6).
        """
        return len(self._calls) == 1 and not self.client_held and self._refusal is None and lacks_close(head)

    # -- ends

    def client_ended(self, now: int) -> bytes:
        """See Tap."""
        self._client_has_ended = True
        held = self.client_held
        if self._rest is not None:
            self._rest.from_client(held, now)
            self._rest.client_ended(now)
        self.client_held = b""
        return held

    def model_ended(self, now: int) -> bytes:
        """See Tap."""
        held = self.model_held
        if self._rest is not None:
            self._rest.from_model(held, now)
            self._rest.model_ended(now)
        else:
            for _ in self._responses.end_of_input():
                self._response_complete(now)
            self._settle_open(self._broken_off_by(EndedBy.MODEL_ABORTED), now)
            if self._refusal is not None:
                raise self._refused(held, now, may_answer=False)
        self.model_held = b""
        return held

    def lost(self, by: EndedBy, now: int) -> None:
        """See Tap."""
        if self._rest is not None:
            self._rest.lost(by, now)
        self._settle_open(self._broken_off_by(by), now)
        if self._refusal is not None:
            self._refused(b"", now, may_answer=False)

    def _broken_off_by(self, by: EndedBy) -> EndedBy:
        """Who ended the open calls: a model that ends once its client has ended only follows it.

        An end of input does not tell whether the client still listens; in HTTP/1 it practically never does.
        """
        return EndedBy.CLIENT if self._client_has_ended and by is EndedBy.MODEL_ABORTED else by

    # -- beside the bytes

    @property
    def held_since(self) -> int:
        """See Tap. What is held when following has stopped is to be given up at once."""
        if not (self.client_held or self.model_held):
            return -1
        if self._rest is not None:
            return 0
        if self.client_held and self.model_held:
            return min(self._client_since, self._model_since)
        return self._client_since if self.client_held else self._model_since

    @property
    def weight(self) -> int:
        """See Tap."""
        return len(self.client_held) + len(self.model_held) + self._pending

    @property
    def is_idle(self) -> bool:
        """See Tap."""
        if self._rest is not None:
            return self._rest.is_idle
        is_held = self.client_held or self.model_held
        return not (is_held or self._calls or self._refusal is not None or self._requests.is_within)

    def tick(self, now: int) -> None:
        """See Tap."""
        if self._rest is not None:
            self._rest.tick(now)
        else:
            self._tick_calls(now)

    def drain(self, now: int) -> bytes:  # noqa: ARG002
        """See Tap."""
        self._is_draining = True
        self._is_plain = False
        return b""
