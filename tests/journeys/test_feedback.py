"""Journey: feedback to a call that went through a sidecar, before its record is there and after."""

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING

from infertap import Client, v1

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar, Storage

REQUEST = (
    b"POST /v1/predict HTTP/1.1\r\nHost: m\r\nX-Request-Id: checkout-17\r\nContent-Type: application/json\r\n"
    b'Content-Length: 7\r\n\r\n{"n":1}'
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer(connection: socket.socket) -> None:
    received = b""
    while piece := connection.recv(1 << 16):
        received += piece
        while b"}" in received:
            received = received.partition(b"}")[2]
            connection.sendall(ANSWER)


def ask(sidecar: "Sidecar") -> None:
    with sidecar.connect() as client:
        client.sendall(REQUEST)
        received = b""
        while not received.endswith(b"ok"):
            received += client.recv(1 << 16)


def post(storage: "Storage", said: object) -> dict[str, object]:
    request = urllib.request.Request(
        f"http://{storage.web}/v1/feedback",
        json.dumps(said).encode(),
        {"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as response:
        return dict(json.load(response))


def test_feedback_before_and_after_the_record(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    start_storage: "Callable[..., Storage]",
) -> None:
    """By request id over HTTP before the call, by client and command line after; a second call of that
    request id has it too; a restart of storage keeps it; and no personal data reaches the disk.
    """
    storage = start_storage(feedback_origins="https://app.example.com")
    early = post(storage, {"request_id": "checkout-17", "feedback_id": "early", "thumb": "THUMB_DOWN"})
    assert early == {"attached": [{"feedback_id": "early"}]}

    sidecar = start_sidecar(start_model(answer).address, storage=storage.address)
    ask(sidecar)
    (record,) = storage.await_records(1)
    assert [each.feedback_id for each in record.feedback] == ["early"]

    with Client(storage.address) as client:
        attached = client.feedback(
            call_id=record.call_id, comment="call a.person@example.com", ground_truth={"species": 2}
        )
        assert list(attached.call_ids) == [record.call_id]
        again = client.feedback(request_id="checkout-17", feedback_id="early", rating=1)
        assert again.was_known
        ask(sidecar)
        storage.await_records(2)
        given = client.feedback(request_id="checkout-17", labels=["wrong"], rating=2)
        assert len(set(given.call_ids)) == 2

        kept = client.get(record.call_id).feedback
        assert [each.thumb == v1.THUMB_DOWN for each in kept] == [False, False, True]
        assert (kept[1].comment, json.loads(kept[1].ground_truth_json)) == ("call <email>", {"species": 2})
        such = v1.FeedbackFilter(label="wrong", max_rating=3)
        assert len(list(client.list(feedback=such))) == 2
        assert list(client.list(feedback=False)) == []
        assert len(list(client.list_feedback(call_id=record.call_id))) == 3

    command = [sys.executable, "-m", "infertap.cli", "feedback", "add", "--address", storage.address]
    ran = subprocess.run(
        [*command, "--request-id", "checkout-17", "--event", "retried=1"],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
    )
    assert ran.returncode == 0, ran.stderr
    assert record.call_id.encode() in ran.stdout

    assert "ground truth: {&#34;species&#34;: 2}" in storage.get(f"/calls/{record.call_id}")[1]
    assert storage.stop() == 0
    restarted = start_storage(archive=storage.archive)
    with Client(restarted.address) as client:
        assert client.get(record.call_id).feedback_count == 4
    restarted.kill()
    files = [each for each in storage.archive.rglob("*") if each.is_file()]
    assert files
    assert not any(b"a.person@example.com" in each.read_bytes() for each in files)
