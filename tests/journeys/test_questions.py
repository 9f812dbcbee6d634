"""Journey: the same questions to storage and to a sidecar: figures, orders, filters, exports."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc

from infertap import Client, v1

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar, Storage

CALLS = 12


def answer(connection: socket.socket) -> None:
    """Each third call fails, as its body asks for."""
    received = b""
    while piece := connection.recv(1 << 16):
        received += piece
        while b"}" in received:
            request, _, received = received.partition(b"}")
            status = b"500 Broken" if b'"fail"' in request else b"200 OK"
            body = json.dumps({"usage": {"prompt_tokens": 7, "completion_tokens": 3}}).encode()
            head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            connection.sendall(head % (status, len(body)) + body)


def ask(sidecar: "Sidecar", number: int) -> None:
    said = "fail" if number % 3 == 0 else "work"
    body = json.dumps({"model": f"m{number % 2}", "prompt": said}).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with sidecar.connect() as client:
        client.sendall(head.encode() + body)
        received = b""
        while b"completion_tokens" not in received:
            received += client.recv(1 << 16)


def run(*arguments: str) -> str:
    """What the command prints."""
    ran = subprocess.run(
        [sys.executable, "-m", "infertap.cli", *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_same_questions_everywhere(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    start_storage: "Callable[..., Storage]",
) -> None:
    """Real calls are counted by model, failures and tokens among them, at storage and at the sidecar; both
    list the earliest first, and export what was there.
    """
    storage = start_storage()
    sidecar = start_sidecar(start_model(answer).address, storage=storage.address)
    for number in range(CALLS):
        ask(sidecar, number)
    storage.await_records(CALLS)
    for address in (storage.address, sidecar.api):
        printed = run("stats", "--by", "model", "--json", "--address", address)
        rows = [json.loads(line) for line in printed.splitlines()]
        assert sorted((row["group"], row["calls"], row["failed"]) for row in rows) == [
            (["m0"], 6, 2),
            (["m1"], 6, 2),
        ]
        assert sum(row["input_tokens_sum"] for row in rows) == 7 * CALLS
        assert "p99" in run("stats", "--by", "http_status,time", "--bucket", "1h", "--address", address)
        with Client(address) as client:
            earliest = [record.sequence for record in client.list(order_by="start_time")]
            latest = [record.sequence for record in client.list()]
            assert earliest == latest[::-1]
            assert sorted(latest) == list(range(1, CALLS + 1))
            assert len(list(client.list(total_tokens=(10, 10), states=["failed"]))) == CALLS // 3
        with grpc.insecure_channel(address) as channel:
            stub = v1.RecordServiceStub(channel)
            answers = list(stub.ExportRecords(v1.ExportRecordsRequest(), timeout=30))
        assert [record.sequence for each in answers for record in each.records] == earliest
    with Client(storage.address) as client:
        slowest = [record.timing.duration_us for record in client.list(order_by="duration desc")]
    assert slowest == sorted(slowest, reverse=True)
    assert v1.FAILED in {record.state for record in storage.records(http_statuses=[500])}
