"""WebSocket bodies: the messages of each direction as documents, redacted.

Pure but for what it keeps: the readers of calls that go on in another segment, so that a segment can be read
from its first byte on, be it within a frame, a message or a stream of compressed ones. A segment whose
predecessor was cut, lost or forgotten is withheld.
"""

import base64
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from itertools import accumulate
from typing import Any, Final

from sidecar.exchange import Body, Exchange
from sidecar.protocols import (
    Deflate,
    MessageKind,
    WebSocketMessage,
    WebSocketReader,
    read_close,
    read_deflate,
)
from sidecar.recorder.json_text import json_text
from sidecar.recorder.read_body import Close, ReadBody, WireSide
from sidecar.recorder.redaction import Ends, Findings, RedactedBody, Redactor, Withheld

# Readers that wait for another segment, and what one may hold of a message.
_MOST_READERS: Final = 256
_MOST_WAITING: Final = 64 << 10
# One message, and what is shown of one direction: three quarters from its beginning, the rest from its end.
_MOST_MESSAGE: Final = 1 << 20
_MOST_SHOWN: Final = 640 << 10
_MOST_MESSAGES: Final = 4096
_BINARY: Final = "application/octet-stream"
_SHOWN_KINDS: Final = (MessageKind.TEXT, MessageKind.BINARY, MessageKind.CLOSE)


class WebSocketBodies:
    """Reads the WebSocket connections of one run."""

    def __init__(self, redactor: Redactor, inflated_most: int) -> None:
        """Inflating makes at most so many bytes of one direction."""
        self._redactor = redactor
        self._inflated_most = inflated_most
        # By call and direction: the number of the segment that the reader waits for, and the reader.
        self._waiting: OrderedDict[tuple[bytes, bool], tuple[int, WebSocketReader]] = OrderedDict()

    def read(self, side: WireSide, findings: Findings) -> ReadBody:
        """One direction. Without a key nothing is kept for segments to come."""
        call, body = side.call, side.body
        reader = self._reader(side)
        if reader is None:
            return ReadBody(RedactedBody(withheld=Withheld.UNREADABLE if body.size else None))
        times = _Times(call, body, reader.fed)
        head, tail = side.parts()
        messages = reader.feed(head)
        if call.is_continued and side.key and not side.is_cut and not reader.fault:
            self._keep((side.key, side.is_request), call.segment + 1, reader)
        parts = _shown([each for each in messages if each.kind in _SHOWN_KINDS])
        documents = self._documents(parts, side, times, findings)
        if isinstance(documents, Withheld):
            return ReadBody(RedactedBody(withheld=documents))
        if reader.fault and not documents:
            return ReadBody(RedactedBody(withheld=Withheld.UNREADABLE))
        offset = len(parts[0]) if len(parts) > 1 else None
        return ReadBody(
            RedactedBody(
                documents=tuple(each["data"] for each in documents if "data" in each), tail_offset=offset
            ),
            json_text(documents) if documents else "",
            is_view_cut=bool(reader.fault or len(parts) > 1 or (reader.is_cut and not call.is_continued)),
            is_tail_unread=bool(tail),
            close=self._close(messages, times, findings),
        )

    # -- readers

    def _reader(self, side: WireSide) -> WebSocketReader | None:
        if side.call.segment:
            segment, waiting = self._waiting.pop((side.key, side.is_request), (0, None))
            return waiting if segment == side.call.segment else None
        deflate = read_deflate(side.extensions)
        forgets = _forgets(deflate, side.is_request)
        return WebSocketReader(_MOST_MESSAGE, self._inflated_most, deflate is not None, forgets)

    def _keep(self, key: tuple[bytes, bool], segment: int, reader: WebSocketReader) -> None:
        if reader.weight <= _MOST_WAITING:
            self._waiting[key] = segment, reader
            while len(self._waiting) > _MOST_READERS:
                self._waiting.popitem(last=False)

    # -- documents

    def _documents(
        self, parts: list[list[WebSocketMessage]], side: WireSide, times: "_Times", findings: Findings
    ) -> list[dict[str, Any]] | Withheld:
        """All that is shown, part by part; or why redaction fails."""
        documents: list[dict[str, Any]] = []
        last = len(parts) - 1
        for number, messages in enumerate(parts):
            ends = Ends(side.ends.opens or number > 0, side.ends.closes or number < last)
            texts = [_text(each) for each in messages]
            redacted = self._redactor.messages([each for each in texts if each is not None], findings, ends)
            if isinstance(redacted, Withheld):
                return redacted
            following = iter(redacted)
            for message, text in zip(messages, texts, strict=True):
                data = self._binary(message) if text is None else {"data": next(following)}
                documents.append(self._described(message, side.is_request, times) | data)
        return documents

    @staticmethod
    def _described(message: WebSocketMessage, is_request: bool, times: "_Times") -> dict[str, Any]:
        said: dict[str, Any] = {
            "from": "client" if is_request else "model",
            "type": message.kind.name.lower(),
        }
        at_us = times.offset_us(message.end)
        if at_us is not None:
            said["at_us"] = at_us
        return said | ({"cut": True} if message.is_cut else {})

    def _binary(self, message: WebSocketMessage) -> dict[str, Any]:
        """What is no text, by the rules for bodies that nothing can read."""
        if message.kind is MessageKind.CLOSE:
            return {"code": read_close(message.data)[0]}
        kept = self._redactor.opaque(_BINARY, message.data)
        said: dict[str, Any] = {"size": len(message.data)}
        if kept.data:
            said["base64"] = base64.b64encode(kept.data).decode()
        return said | ({"digest": kept.digest} if kept.digest else {})

    def _close(self, messages: list[WebSocketMessage], times: "_Times", findings: Findings) -> Close | None:
        for message in messages:
            if message.kind is MessageKind.CLOSE:
                code, reason = read_close(message.data)
                return Close(
                    code, self._redactor.raw(reason, "close_reason", findings), times.at(message.end)
                )
        return None


class _Times:
    """When each byte of a body passed, as far as the times of its pieces were kept."""

    def __init__(self, call: Exchange, body: Body, before: int) -> None:
        """`before` bytes of the direction passed in earlier segments."""
        self._started = call.started
        self._before = before
        self._times = [time for time, _ in body.piece_times]
        self._ends = list(accumulate(size for _, size in body.piece_times))

    def at(self, end: int) -> int:
        """When the byte before `end` of the direction passed; -1 where that is not known."""
        number = bisect_left(self._ends, end - self._before)
        return self._times[number] if number < len(self._times) else -1

    def offset_us(self, end: int) -> int | None:
        """The same in microseconds since the call's start; None where that is not known."""
        time = self.at(end)
        return None if time < 0 else max((time - self._started) // 1000, 0)


def _shown(messages: list[WebSocketMessage]) -> list[list[WebSocketMessage]]:
    """What of `messages` is shown: all, or the first and the last of them."""
    sizes = [len(each.data) for each in messages]
    if sum(sizes) <= _MOST_SHOWN and len(messages) <= _MOST_MESSAGES:
        return [messages]
    first = _count_within(sizes, _MOST_SHOWN * 3 // 4, _MOST_MESSAGES * 3 // 4)
    last = _count_within(sizes[:first:-1], _MOST_SHOWN // 4, _MOST_MESSAGES // 4)
    return [messages[:first], messages[len(messages) - last :]]


def _count_within(sizes: list[int], most: int, most_count: int) -> int:
    """How many of `sizes`, from the first on, make `most` at most."""
    return bisect_right(list(accumulate(sizes[:most_count])), most)


def _forgets(deflate: Deflate | None, is_request: bool) -> bool:
    if deflate is None:
        return False
    return deflate.client_forgets if is_request else deflate.server_forgets


def _text(message: WebSocketMessage) -> str | None:
    if message.kind is not MessageKind.TEXT:
        return None
    try:
        return message.data.decode()
    except ValueError:
        return message.data.decode("utf-8", "ignore") if message.is_cut else None
