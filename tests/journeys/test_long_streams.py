"""Journey: a stream that is longer than what is captured: how it ended is in the record all the same."""

import json
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from infertap import v1

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]

QUESTION = b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "go on"}]}'
CALL = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: model\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(QUESTION), QUESTION)
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
WORDS = 20_000


def event(**members: Any) -> bytes:
    return b"data: %s\n\n" % json.dumps({"id": "c1", "model": "m", **members}).encode()


def delta(text: str, finish: str | None = None) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": finish}])


GOOD_END = (
    delta("", "stop")
    + event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": WORDS})
    + b"data: [DONE]\n\n"
)
BAD_END = event(error={"message": "out of memory", "type": "server_error"})


@pytest.mark.parametrize(("end", "state"), [(GOOD_END, v1.COMPLETED), (BAD_END, v1.FAILED)])
def test_how_a_long_stream_ends(
    start_model: "StartModel", start_sidecar: "StartSidecar", end: bytes, state: int
) -> None:
    """Usage and finish reason, or a late error, are in the record of a stream of megabytes; nothing leaks."""

    def answer(connection: socket.socket) -> None:
        received = b""
        while not received.endswith(QUESTION):
            received += connection.recv(1 << 16)
        connection.sendall(HEAD)
        for number in range(WORDS):
            # An address now and then, so that wherever the hole is, some are near.
            connection.sendall(delta("ada.lovelace@exam" if number % 7 == 0 else "ple.org it was so"))
        connection.sendall(end)

    sidecar = start_sidecar(start_model(answer).address, body_limit_bytes="64KiB")
    with sidecar.connect() as client:
        client.sendall(CALL)
        received = bytearray()
        while piece := client.recv(1 << 20):
            received += piece
    assert received.endswith(end)
    [record] = sidecar.await_records(1)
    response = record.response
    assert (record.state, response.truncated) == (state, True)
    assert response.size_bytes == len(received) - received.index(b"\r\n\r\n") - 4
    assert response.captured_bytes <= 64 << 10
    assert b"lovelace@exam" not in response.data
    behind = response.data[response.tail_offset :]
    assert len(behind) > 4 << 10
    assert behind.endswith(b"data: [DONE]\n\n" if end is GOOD_END else b"}}\n\n")
    if end is GOOD_END:
        assert (record.model.output_tokens, list(record.model.finish_reasons)) == (WORDS, ["stop"])
    sidecar.await_settled()
