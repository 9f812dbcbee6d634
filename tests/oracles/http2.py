"""HTTP/2 as real peers see it: each end is a pair of `h2` connections that do the same and hear two versions.

One of a pair, the *tapped* one, hears what comes out of the tap; its *mirror* hears what the other end sent.
Then after every read both must have heard the same, but for the added id, and must answer with the same
bytes.
"""

import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

Headers = list[tuple[bytes, bytes]]
HEADERS, PUSH_PROMISE, CONTINUATION = 1, 5, 9
END_HEADERS, PADDED, PRIORITY = 4, 8, 32
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ID = b"x-request-id"


def connection(client_side: bool) -> h2.connection.H2Connection:
    """A real end, which checks what it is sent and gives header fields as bytes."""
    made = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=client_side, header_encoding=None)
    )
    made.initiate_connection()
    return made


@dataclass
class End:
    """One end, twice."""

    client_side: bool
    # Changes frames on their way out, in ways that mean the same.
    rewrite: Callable[[bytes], bytes]
    tapped: h2.connection.H2Connection = field(init=False)
    mirror: h2.connection.H2Connection = field(init=False)
    # Sent and not delivered.
    outgoing: bytes = b""
    heard: list[h2.events.Event] = field(default_factory=list)
    # Ids that the tap added to what was heard, by stream.
    ids: dict[int, bytes] = field(default_factory=dict)
    # SETTINGS sent so far.
    changes: int = 1
    has_failed: bool = False

    def __post_init__(self) -> None:
        self.tapped, self.mirror = connection(self.client_side), connection(self.client_side)
        self.collect()

    def act(self, what: Callable[[h2.connection.H2Connection], Any]) -> bool:
        """Let both do `what`; False where h2 does not allow it."""
        outcomes = [_outcome(lambda each=each: what(each)) for each in (self.tapped, self.mirror)]
        assert outcomes[0] == outcomes[1], f"the tap changed what an end may do: {outcomes}"
        self.collect()
        return outcomes[0] is None

    def collect(self) -> None:
        """Take what both want to send, which must be the same."""
        mine, others = self.tapped.data_to_send(), self.mirror.data_to_send()
        assert mine == others, "the tap changed what an end answers"
        start = len(PREFACE) if mine.startswith(PREFACE) else 0
        self.outgoing += mine[:start] + self.rewrite(mine[start:])

    def hear(self, through_tap: bytes, sent: bytes) -> None:
        """Both hear one read, in either version."""
        heard: list[list[h2.events.Event]] = [[], []]
        outcomes = [
            _outcome(lambda each=each, data=data, to=to: to.extend(each.receive_data(data)) if data else None)
            for each, data, to in zip((self.tapped, self.mirror), (through_tap, sent), heard, strict=True)
        ]
        assert outcomes[0] == outcomes[1], f"the tap made an end refuse: {outcomes}"
        pairs = list(itertools.zip_longest(*heard))
        assert [told(self._forget_id(*pair)) for pair in pairs] == [told(each) for each in heard[1]]
        self.has_failed = self.has_failed or outcomes[0] is not None
        for event in heard[1]:
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                stream, size = event.stream_id, event.flow_controlled_length
                self.act(lambda each, stream=stream, size=size: each.acknowledge_received_data(size, stream))
        self.heard += heard[1]
        self.collect()

    def _forget_id(self, event: h2.events.Event, sent: h2.events.Event) -> h2.events.Event:
        """`event` less the id that was not `sent`, which is noted."""
        if isinstance(event, h2.events.RequestReceived | h2.events.ResponseReceived):
            theirs = [tuple(each) for each in getattr(sent, "headers", [])]
            ours = [tuple(each) for each in event.headers]
            if ours[:-1] == theirs and ours[-1][0] == ID:
                self.ids[event.stream_id] = ours[-1][1]
                event.headers = event.headers[:-1]
        return event


def told(event: h2.events.Event) -> tuple[Any, ...]:
    """An event as something that can be compared."""
    values = []
    for name, value in sorted(vars(event).items()):
        if isinstance(value, h2.events.Event):
            values.append((name, told(value)))
        elif isinstance(value, list):
            values.append((name, [tuple(each) for each in value]))
        else:
            values.append((name, repr(value)))
    return (type(event).__name__, *values)


def _outcome(what: Callable[[], object]) -> str | None:
    try:
        what()
    except (h2.exceptions.H2Error, ValueError) as error:  # h2 lets some of hyperframe's errors through
        return f"{type(error).__name__}: {error}"
    return None


# -- frames that mean the same in another form


def frames(data: bytes) -> list[bytes]:
    """The whole frames of `data`."""
    found = []
    while data:
        size = 9 + int.from_bytes(data[:3], "big")
        found.append(data[:size])
        data = data[size:]
    return found


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def spread(block: bytes, cut: int, padding: int) -> bytes:
    """A HEADERS or PUSH_PROMISE frame, padded, and cut after so many bytes of its fragment: what is left
    comes in a CONTINUATION, after an empty one. Other frames as they are.
    """
    kind, flags, stream = block[3], block[4], int.from_bytes(block[5:9], "big")
    if (
        kind not in (HEADERS, PUSH_PROMISE)
        or flags & (END_HEADERS | PADDED) != END_HEADERS
        or len(block) > 16_000
    ):
        return block
    place = cut + (4 if kind == PUSH_PROMISE else 5 if flags & PRIORITY else 0)
    first, rest = block[9:][:place], block[9:][place:]
    if padding and first:  # hyperframe takes no frame of padding only
        first = bytes((padding,)) + first + bytes(padding)
        flags |= PADDED
    if not rest:
        return frame(kind, flags, stream, first)
    begun = frame(kind, flags & ~END_HEADERS, stream, first) + frame(CONTINUATION, 0, stream, b"")
    return begun + frame(CONTINUATION, END_HEADERS, stream, rest)
