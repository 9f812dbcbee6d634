"""CloudEvents over HTTP, to a real server."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from infertap import v1
from storage.sinks import Batch, Sink, SinkError, record_id
from storage.sinks.cloudevents import read_kind
from storage.sinks.sink_table import SinkTable
from tests.storage.sinks.receiver import Receiver

if TYPE_CHECKING:
    from tests.storage.conftest import Making

SPOOL = b"s" * 16


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serving() as made:
        yield made


async def opened(receiver: Receiver, **settings: Any) -> Sink:
    table = SinkTable("events", {"url": receiver.url, **settings})
    made = read_kind(table)
    table.end()
    return await made()


def records(making: "Making", *sequences: int, **fields: Any) -> list[v1.Record]:
    made = [making.record(sequence, **fields) for sequence in sequences]
    for sequence, record in zip(sequences, made, strict=True):
        record.spool_id, record.sequence = SPOOL, sequence
    return made


async def test_a_batch(receiver: Receiver, making: "Making") -> None:
    """One request for many: each event says what CloudEvents demands, and who it is for ever."""
    sink = await opened(receiver, source="/clusters/a", headers={"x-team": "a"})
    batch = records(
        making, 1, 2, model__name="iris", sampling__fraction=0.25, trace_id="a" * 32, span_id="b" * 16
    )
    assert await sink.deliver(Batch(batch)) == []
    await sink.close()
    ((headers, body),) = receiver.requests
    assert headers["content-type"] == "application/cloudevents-batch+json; charset=utf-8"
    assert headers["x-team"] == "a"
    first = json.loads(body)[0]
    data = first.pop("data")
    assert first == {
        "specversion": "1.0",
        "id": record_id(batch[0]),
        "source": "/clusters/a",
        "type": "io.infertap.v1.Record",
        "subject": batch[0].call_id,
        "time": "2026-01-01T00:00:01Z",
        "datacontenttype": "application/json",
        "requestid": "r-1",
        "modelid": "iris",
        "state": "completed",
        "sampledrate": 4,
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
    }
    assert data["call_id"] == batch[0].call_id
    assert receiver.ids == [record_id(each) for each in batch]


async def test_the_poison_is_found(receiver: Receiver, making: "Making") -> None:
    """Of a batch that is refused whole all arrive but the guilty ones."""
    receiver.answer = lambda body: (400, {}) if b"/v1/3" in body or b"/v1/7" in body else None
    sink = await opened(receiver)
    batch = records(making, *range(1, 9))
    refused = await sink.deliver(Batch(batch))
    await sink.close()
    assert sorted((each.index, each.reason) for each in refused) == [(2, "http 400"), (6, "http 400")]
    assert sorted(receiver.ids) == sorted(record_id(each) for each in batch if each.sequence not in (3, 7))


@pytest.mark.parametrize("mode", ["batch", "binary"])
async def test_an_ill_endpoint_takes_no_blame_from_records(
    receiver: Receiver, making: "Making", mode: str
) -> None:
    """One that refuses everything is ill: nothing is set aside for it."""
    receiver.answer = lambda _: (400, {})
    sink = await opened(receiver, mode=mode)
    with pytest.raises(SinkError, match="http 400"):
        await sink.deliver(Batch(records(making, *range(1, 40))))
    await sink.close()


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (500, {}, None),
        (503, {"retry-after": "7"}, 7.0),
        (429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        (429, {"retry-after": "soon"}, None),
        (408, {}, None),
        (401, {}, None),
        (404, {}, None),
        (302, {"location": "http://127.0.0.1:1/"}, None),
    ],
)
async def test_what_is_tried_again(
    receiver: Receiver, making: "Making", status: int, headers: dict[str, str], wait: float | None
) -> None:
    """What is no fault of a record is tried again, after the time that the endpoint asked for."""
    receiver.answer = lambda _: (status, headers)
    sink = await opened(receiver)
    with pytest.raises(SinkError, match=f"^http {status}$") as caught:
        await sink.deliver(Batch(records(making, 1, 2)))
    assert caught.value.retry_after_seconds == wait
    await sink.close()


async def test_nobody_there(making: "Making") -> None:
    """A sink that can't be reached, or does not answer in time, is tried again."""
    async with Receiver().serving() as receiver:
        slow = await opened(receiver, timeout="100ms")
        hold = asyncio.Event()
        receiver.hold = hold
        with pytest.raises(SinkError, match="timeout"):
            await slow.deliver(Batch(records(making, 1)))
        hold.set()
    with pytest.raises(SinkError, match=f"^127.0.0.1:{receiver.port}: Connection refused$"):
        await slow.deliver(Batch(records(making, 1)))
    await slow.close()


async def test_tls(making: "Making", tmp_path: Path) -> None:
    """The endpoint's certificate is checked against the authorities that are named."""
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with Receiver().serving(context) as receiver:
        trusting = await opened(receiver, ca_file=str(tmp_path / "ca.pem"))
        assert await trusting.deliver(Batch(records(making, 1))) == []
        await trusting.close()
        wary = await opened(receiver, ca_file=str(tmp_path / "other.pem"))
        with pytest.raises(SinkError, match="certificate not trusted: "):
            await wary.deliver(Batch(records(making, 2)))
        await wary.close()
        assert len(receiver.taken) == 1


async def test_binary_mode(receiver: Receiver, making: "Making") -> None:
    """One request for each: attributes as headers, whatever they hold, and the record as the body."""
    sink = await opened(receiver, mode="binary")
    batch = records(making, 1, model__name='ë "%x')
    assert await sink.deliver(Batch(batch)) == []
    await sink.close()
    ((headers, body),) = receiver.requests
    assert headers["content-type"] == "application/json"
    assert headers["ce-id"] == record_id(batch[0])
    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-modelid"] == "%C3%AB%20%22%25x"
    assert json.loads(body)["call_id"] == batch[0].call_id


async def test_binary_mode_sends_what_is_left(receiver: Receiver, making: "Making") -> None:
    """Of a batch that is tried again only what has not arrived is sent."""
    failing = True
    receiver.answer = lambda body: (503, {}) if failing and b"/v1/5" in body else None
    sink = await opened(receiver, mode="binary", concurrency=1)
    batch = Batch(records(making, *range(1, 7)))
    with pytest.raises(SinkError, match="http 503"):
        await sink.deliver(batch)
    failing = False
    assert await sink.deliver(batch) == []
    await sink.close()
    assert receiver.ids == [record_id(each) for each in batch.records]


@pytest.mark.parametrize(("events", "status"), [("records", 431), ("kserve", 431), ("kserve", 415)])
async def test_headers_that_are_not_taken(
    receiver: Receiver, making: "Making", events: str, status: int
) -> None:
    """Where headers are made of a record, what is answered about them is its own fault: it is set aside."""
    receiver.answer = lambda body: (status, {}) if b"/v1/2" in body or body == b"question 2" else None
    sink = await opened(receiver, mode="binary", events=events)
    refused = await sink.deliver(Batch(records(making, 1, 2, 3)))
    await sink.close()
    assert [(each.index, each.reason) for each in refused] == [(1, f"http {status}")]


@pytest.mark.parametrize(("mode", "status"), [("batch", 415), ("batch", 431), ("binary", 415)])
async def test_headers_that_are_all_alike(
    receiver: Receiver, making: "Making", mode: str, status: int
) -> None:
    """Where headers, or the type of what is sent, are the same for all, it is the set-up that is wrong."""
    receiver.answer = lambda _: (status, {})
    sink = await opened(receiver, mode=mode)
    with pytest.raises(SinkError, match=f"^http {status}$"):
        await sink.deliver(Batch(records(making, 1)))
    await sink.close()


async def test_as_kserve_has_them(receiver: Receiver, making: "Making") -> None:
    """Two events for each call, of one id: the bodies as they are, named as KServe's logger does."""
    sink = await opened(receiver, mode="binary", events="kserve", concurrency=1)
    batch = records(
        making,
        1,
        model__name="iris",
        source__namespace="prod",
        request__content_type="application/json",
        response__data=b"answer",
    )
    assert await sink.deliver(Batch(batch)) == []
    await sink.close()
    assert [headers["ce-type"] for headers, _ in receiver.requests] == [
        "org.kubeflow.serving.inference.request",
        "org.kubeflow.serving.inference.response",
    ]
    assert {headers["ce-id"] for headers, _ in receiver.requests} == {batch[0].call_id}
    assert [body for _, body in receiver.requests] == [b"question 1", b"answer"]
    headers = receiver.requests[0][0]
    assert (headers["ce-inferenceservicename"], headers["ce-namespace"]) == ("iris", "prod")
    assert headers["content-type"] == "application/json"


async def test_tokens_are_read_again(receiver: Receiver, making: "Making", tmp_path: Path) -> None:
    """A token that is rotated is shown from then on; a file that is gone is tried again."""
    token = tmp_path / "token"
    token.write_text("one\n")
    sink = await opened(receiver, token_file=str(token))
    await sink.deliver(Batch(records(making, 1)))
    token.write_text("two\n")
    await sink.deliver(Batch(records(making, 2)))
    token.unlink()
    with pytest.raises(SinkError, match="unusable credential file"):
        await sink.deliver(Batch(records(making, 3)))
    await sink.close()
    assert [headers["authorization"] for headers, _ in receiver.requests] == ["Bearer one", "Bearer two"]
