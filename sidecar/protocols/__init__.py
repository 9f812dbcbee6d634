"""Protocols: bytes in, events out.

Pure: no I/O, no clock, no state beside a parser's own. The door of the room; the modules say which standard
they follow and what they promise.
"""

from sidecar.protocols import http2
from sidecar.protocols.grpc import Message, Messages, decode_status_message, split_messages, timeout_ns
from sidecar.protocols.hpack import (
    FIELD_OVERHEAD,
    STATIC_FIELD_BYTES,
    HpackDecoder,
    HpackError,
    ListLimitError,
    literal_without_indexing,
)
from sidecar.protocols.http1 import RequestFramer, ResponseFramer
from sidecar.protocols.http1_events import MAX_HEAD, Event, Kind, Stop
from sidecar.protocols.http1_heads import (
    CHUNKED,
    CROWDED,
    NOT_PLAIN,
    TUNNEL,
    UNTIL_CLOSE,
    Answer,
    ParsedHead,
    RequestHead,
    ResponseHead,
    is_crowded,
    parse_head,
    parse_trailers,
    read_request_head,
    read_response_head,
    request_line,
)
from sidecar.protocols.http2 import (
    BlockLimitError,
    FrameError,
    HeaderBlock,
    append_to_block,
    find_header_block,
    read_settings_frame,
)
from sidecar.protocols.huffman import forget_huffman
from sidecar.protocols.sniff import HTTP2_PREFACE, Sniffed, sniff_client, sniff_model
from sidecar.protocols.sse import SseEvent, SseParser, parse_sse
from sidecar.protocols.sse_endings import lacks_end, stream_has_failed
from sidecar.protocols.websocket import (
    Deflate,
    MessageKind,
    WebSocketMessage,
    WebSocketReader,
    read_close,
    read_deflate,
)

__all__ = [
    "CHUNKED",
    "CROWDED",
    "FIELD_OVERHEAD",
    "HTTP2_PREFACE",
    "MAX_HEAD",
    "NOT_PLAIN",
    "STATIC_FIELD_BYTES",
    "TUNNEL",
    "UNTIL_CLOSE",
    "Answer",
    "BlockLimitError",
    "Deflate",
    "Event",
    "FrameError",
    "HeaderBlock",
    "HpackDecoder",
    "HpackError",
    "Kind",
    "ListLimitError",
    "Message",
    "MessageKind",
    "Messages",
    "ParsedHead",
    "RequestFramer",
    "RequestHead",
    "ResponseFramer",
    "ResponseHead",
    "Sniffed",
    "SseEvent",
    "SseParser",
    "Stop",
    "WebSocketMessage",
    "WebSocketReader",
    "append_to_block",
    "decode_status_message",
    "find_header_block",
    "forget_huffman",
    "http2",
    "is_crowded",
    "lacks_end",
    "literal_without_indexing",
    "parse_head",
    "parse_sse",
    "parse_trailers",
    "read_close",
    "read_deflate",
    "read_request_head",
    "read_response_head",
    "read_settings_frame",
    "request_line",
    "sniff_client",
    "sniff_model",
    "split_messages",
    "stream_has_failed",
    "timeout_ns",
]
