"""Parsers against other readers of the same bytes."""

import hpack
import hpack.exceptions
from hpack.huffman_table import decode_huffman as hpack_huffman

from sidecar.handoff import Arrived, Inbox, Lost
from sidecar.protocols import (
    STATIC_FIELD_BYTES,
    HpackDecoder,
    HpackError,
    Sniffed,
    SseParser,
    WebSocketReader,
    parse_sse,
    sniff_client,
    sniff_model,
)
from sidecar.protocols.huffman import HuffmanError, decode_huffman
from tests.fuzz.reads import read_reads
from tests.oracles.sse import events_by_the_standard
from tests.oracles.websocket import messages_by_websockets

# What ours refuses beyond the standard: its own limits.
_LIMITS = ("too large", "too many", "too long", "larger than allowed")


def hpack_blocks(data: bytes) -> None:
    """Header blocks, and table sizes agreed on between them: the library reads the same, or refuses too."""
    decoder, oracle = HpackDecoder(), hpack.Decoder(max_header_list_size=1 << 30)
    for is_size, block in read_reads(data):
        if is_size:
            size = int.from_bytes(block[:2], "big")
            if size >= oracle.max_allowed_table_size:  # smaller ones: ours holds the sender to section 4.3.1
                decoder.allow_table(size)
                oracle.max_allowed_table_size = size
            continue
        try:
            fields = decoder.decode(block)
        except HpackError as error:
            if not any(limit in str(error) for limit in _LIMITS):
                theirs = _by_hpack(oracle, block)
                if theirs is not None:
                    raise AssertionError(f"refused what hpack reads as {theirs}") from error
            return
        assert fields == _by_hpack(oracle, block)
        # What it is told to weigh with: what the static table gives is bounded by the number of fields.
        size = sum(len(name) + len(value) - STATIC_FIELD_BYTES for name, value in fields)
        assert decoder.list_bytes >= size


def _by_hpack(oracle: hpack.Decoder, block: bytes) -> list[tuple[bytes, bytes]] | None:
    try:
        return [(bytes(name), bytes(value)) for name, value in oracle.decode(block, raw=True)]
    except (hpack.exceptions.HPACKError, IndexError):
        return None


def huffman(data: bytes) -> None:
    """The library decodes the same text, or refuses too."""
    try:
        ours = decode_huffman(data)
    except HuffmanError:
        ours = None
    try:
        theirs = bytes(hpack_huffman(data))
    except hpack.exceptions.HPACKError:
        theirs = None
    assert ours == theirs


def sse(data: bytes) -> None:
    """However it is split, a stream has the events that the standard's own steps give."""
    pieces = [read for _, read in read_reads(data)]
    stream = b"".join(pieces)
    parser = SseParser()
    pieced = [(event.event, event.data, event.last_id) for piece in pieces for event in parser.feed(piece)]
    events, _ = parse_sse(stream)
    whole = [(event.event, event.data, event.last_id) for event in events]
    assert pieced == whole == events_by_the_standard(stream)


def sniff(data: bytes) -> None:
    """A protocol once decided on stays the same with more bytes."""
    for sniffed in (sniff_client, sniff_model):
        decided = Sniffed.UNDECIDED
        for end in range(1, min(len(data), 300) + 1):
            now = sniffed(data[:end])
            assert decided in (Sniffed.UNDECIDED, now), f"{decided} became {now} at {end}"
            decided = now


def websocket(data: bytes) -> None:
    """The library reads no other messages: ours may read on behind what it refuses, but not the reverse."""
    chosen, pieces = sum(data[:1]), [read for _, read in read_reads(data[1:])]
    from_client, deflates, forgets = (bool(chosen & bit) for bit in (1, 2, 4))
    stream = b"".join(pieces)
    whole = WebSocketReader(1 << 20, 8 << 20, deflates, forgets)
    pieced = WebSocketReader(1 << 20, 8 << 20, deflates, forgets)
    ours = whole.feed(stream)
    assert [message for piece in pieces for message in pieced.feed(piece)] == ours
    assert (pieced.fault, pieced.is_cut) == (whole.fault, whole.is_cut)
    theirs = messages_by_websockets(stream, from_client, deflates, forgets)
    told = [(int(message.kind), message.data) for message in ours]
    if "inflate" in whole.fault or "deflate" in whole.fault:  # a limit of ours; or bytes behind a last block
        theirs = theirs[: len(told)]
    if any(message.is_cut for message in ours):
        return
    assert len(told) >= len(theirs)
    for (kind, text), (their_kind, their_text) in zip(told, theirs, strict=False):
        # RFC 7692, section 7.2.3.5: ours reads on behind a last block, the library does not.
        assert kind == their_kind
        assert text == their_text or (deflates and text.startswith(their_text))


def inbox(data: bytes) -> None:
    """Whatever packets come: nothing raises, and each number is told once, in rising order."""
    box = Inbox(0, 3, 1 << 20)
    last = 3
    for _, packet in read_reads(data):
        for told in box.take(packet):
            if isinstance(told, Arrived):
                first = end = told.number
            elif isinstance(told, Lost):
                first, end = told.first, told.last
            else:
                continue  # of calls in flight: these have no numbers
            assert first == last + 1
            assert end >= first
            last = end
    assert box.last_number == last
