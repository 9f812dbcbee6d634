"""Journey 7: sampling keeps its share and all failures, and two sidecars in a row keep the same calls."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from infertap import v1

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

CALLS = 20_000
CLIENTS = 4
PIPELINED = 100
# Every tenth call fails.
FAILED = CALLS // 10
GOOD = CALLS - FAILED
END = b"\r\n\r\nok"


def answer(connection: socket.socket) -> None:
    """500 for /fail, else 200."""
    received = b""
    while piece := connection.recv(1 << 16):
        *heads, received = (received + piece).split(b"\r\n\r\n")
        connection.sendall(
            b"".join(
                b"HTTP/1.1 %s\r\nContent-Length: 2%s"
                % (b"500 Broken" if head.startswith(b"GET /fail") else b"200 OK", END)
                for head in heads
            )
        )


def request(number: int) -> bytes:
    """A third of the callers name the request, a third a trace, a third nothing."""
    path = b"/fail" if number % 10 == 0 else b"/good"
    named = (
        b"x-request-id: call-%d\r\n" % number,
        b"traceparent: 00-%032x-%016x-01\r\n" % (number * 0x9E3779B97F4A7C15, number + 1),
        b"",
    )[number % 3]
    return b"GET %s HTTP/1.1\r\nHost: model\r\n%s\r\n" % (path, named)


def call_all(sidecar: "Sidecar", numbers: range) -> None:
    """Send these calls over one connection, some at a time, and read all answers."""
    with sidecar.connect() as client:
        for first in range(0, len(numbers), PIPELINED):
            some = numbers[first : first + PIPELINED]
            client.sendall(b"".join(map(request, some)))
            received = bytearray()
            while received.count(END) < len(some):
                piece = client.recv(1 << 16)
                assert piece, "the sidecar ended a client's connection"
                received += piece


def kept_by(sidecar: "Sidecar") -> list[v1.Record]:
    """The records of a sidecar that saw all calls, checked against its account."""
    account = sidecar.await_settled()
    records = sidecar.records()
    assert account["calls"]["seen"] == CALLS
    assert account["calls"]["shed_handoff_full"] == 0
    assert account["calls"]["not_sampled"] == CALLS - len(records)
    assert account["hand_over"]["appended"] == len(records)
    return records


def test_sampling(start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]") -> None:
    """Of 20,000 calls 10 % ± 1 of the good ones are kept, and all failures; the same in both sidecars."""
    sampled = {"sample_rate": "0.1", "sample_error_max_per_second": "off"}
    inner = start_sidecar(start_model(answer).address, **sampled)
    outer = start_sidecar(":".join(map(str, inner.address)), **sampled)
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda share: call_all(outer, range(share, CALLS, CLIENTS)), range(CLIENTS)))
    kept = kept_by(outer)
    reasons = [(record.sampling.reason, record.sampling.fraction, record.http_status) for record in kept]
    assert reasons.count((v1.Sampling.ERROR, 1.0, 500)) == FAILED
    good = reasons.count((v1.Sampling.RATE, 0.1, 200))
    assert good + FAILED == len(kept)
    assert 0.09 * GOOD < good < 0.11 * GOOD
    assert ids_of(kept) == ids_of(kept_by(inner))


def ids_of(records: list[v1.Record]) -> list[tuple[str, str]]:
    return sorted((record.request_id, record.trace_id) for record in records)
