"""How streams of events end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocols.sse_endings import lacks_end, stream_has_failed, tells_error

CHUNK = b'data: {"id":"1","object":"chat.completion.chunk","choices":[{"delta":{"content":"%s"}}]}\n\n'


@pytest.mark.parametrize(
    "tail",
    [
        b'data: {"error": {"message": "out of memory"}}\n\n',
        b'data:{"error":"x"}\r\n\r\n',
        b"event: error\ndata: anything\n\n",
        b"event:error\r\ndata: anything\r\n\r\n",
        b'data: {"object": "error", "message": "x"}\n\ndata: [DONE]\n\n',
        b'data: {"type": "error", "code": 1}\r\r',
        b'data: {"type":"response.failed","response":{"error":{"code":"x"}}}\n\n',
        CHUNK % b"a" + b'data: {"error": {"code": 500}}\n\n' + b"data: [DONE]\n\n",
    ],
)
def test_errors(tail: bytes) -> None:
    """An error told by an event, however named, is one, wherever in the tail it stands."""
    assert tells_error(tail)
    assert stream_has_failed(tail)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b'data: {"error": null}\n\n',
        b'data: {"text": "an error"}\n\n',
        b'data: {"text": "event: error"}\n\n',
        b'data: {"text": "\\"error\\": 1"}\n\n',
        b'data: {"error": 1\n\n',
        b': "error"\n\n',
        b"data: " + b"[" * 4000 + b"error",
        b"event: errors\n\n",
    ],
)
def test_no_errors(tail: bytes) -> None:
    """Words alone are none."""
    assert not tells_error(tail)


@pytest.mark.parametrize(
    "tail",
    [
        CHUNK % b"a",
        b'ut off"}]}\n\n' + CHUNK % b"a" + CHUNK % b"b",
        b'data: {"object":"text_completion","choices":[{"text":"a","finish_reason":null}]}\n\n',
        b'data: {"type":"response.output_text.delta","delta":"a"}\n\n',
        b'event: content_block_delta\ndata: {"type": "content_block_delta"}\n\n',
    ],
)
def test_without_end(tail: bytes) -> None:
    """A stream of a known kind whose end is missing has ended too soon."""
    assert lacks_end(tail)
    assert stream_has_failed(tail)


@pytest.mark.parametrize(
    "tail",
    [
        CHUNK % b"a" + b"data: [DONE]\n\n",
        b'data: {"object":"chat.completion.chunk","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
        b'data: {"type":"response.completed","response":{"error":null}}\n\n',
        b'data: {"type":"response.incomplete"}\n\n',
        b'data: {"type":"content_block_stop"}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
        b'data: {"text_output": "a"}\n\n',
        b"\x1f\x8b\x08\0\0",
    ],
)
def test_with_end(tail: bytes) -> None:
    """One with its end has not; of other kinds nothing is expected."""
    assert not stream_has_failed(tail)


@given(st.binary(max_size=300) | st.text(alphabet='dat:error{}"[] \n', max_size=80).map(str.encode))
def test_never_raises(tail: bytes) -> None:
    """Any bytes have an answer."""
    stream_has_failed(tail)
