"""The Elasticsearch sink against a strict server of the documented bulk API."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from storage.sinks import Batch, SinkError
from storage.sinks.elasticsearch import ElasticsearchSink, read_kind
from storage.sinks.sink_table import SinkTable
from tests.storage.sinks.bulk_server import PREFIX, BulkServer

DAY = "infertap-2026.01.01"


@pytest.fixture
def bulk() -> BulkServer:
    return BulkServer()


@pytest.fixture
async def url(bulk: BulkServer) -> AsyncIterator[str]:
    server = TestServer(bulk.app())
    await server.start_server()
    yield str(server.make_url(PREFIX))
    await server.close()


@pytest.fixture
async def sink(url: str) -> AsyncIterator[ElasticsearchSink]:
    opened = await open_sink(url)
    yield opened
    await opened.close()


async def open_sink(url: str, **settings: object) -> ElasticsearchSink:
    table = SinkTable("search", {"url": url, **settings})
    opened = await read_kind(table)()
    table.end()
    assert isinstance(opened, ElasticsearchSink)
    return opened


async def test_each_record_is_a_document_of_its_day(bulk, sink, served) -> None:
    """By the record's id, in the index of the day it began, with nothing of its bodies."""
    record = served(7, model__name="iris", error__type="bad", error__message="question")
    assert await sink.deliver(Batch([record, served(86_400)])) == []
    document = bulk.documents[DAY][f"{record.spool_id.hex()}-7"]
    assert document["call_id"] == record.call_id
    assert (document["model"], document["error_type"]) == ("iris", "bad")
    assert "question" not in str(document)
    assert len(bulk.documents["infertap-2026.01.02"]) == 1


async def test_a_repeat_leaves_nothing_twice(bulk, url, served) -> None:
    """What is there already counts as delivered: after a crash the batch is sent again."""
    batch = Batch([served(each) for each in range(1, 6)])
    for _ in range(2):
        sink = await open_sink(url)
        assert await sink.deliver(batch) == []
        await sink.close()
    assert len(bulk.documents[DAY]) == 5


async def test_a_document_that_can_not_be_mapped_is_refused(bulk, sink, served) -> None:
    """With the error's type, and nothing of its reason, which quotes the payload; all others arrive."""
    bulk.faults["-2"] = (400, "document_parsing_exception")
    refused = await sink.deliver(Batch([served(1), served(2), served(3)]))
    assert [(each.index, each.reason) for each in refused] == [(1, "document_parsing_exception")]
    assert len(bulk.documents[DAY]) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, "es_rejected_execution_exception"),
        (503, "unavailable_shards_exception"),
        (403, "cluster_block_exception"),
        (404, "index_not_found_exception"),
        (400, "validation_exception"),
        (400, "index_closed_exception"),
        (302, "other"),
        (0, "other"),
    ],
)
async def test_what_is_not_the_documents_fault_is_tried_again(bulk, sink, served, status, kind) -> None:
    """An overload or a wrong set-up refuses no record; once it is over, only what is missing is sent."""
    bulk.faults = {"-2": (status, kind), "-3": (400, "mapper_parsing_exception")}
    batch = Batch([served(1), served(2), served(3)])
    with pytest.raises(SinkError, match=f"{status} {kind}"):
        await sink.deliver(batch)
    bulk.faults.clear()
    refused = await sink.deliver(batch)
    assert [(each.index, each.reason) for each in refused] == [(2, "mapper_parsing_exception")]
    assert bulk.sizes == [3, 1]
    assert len(bulk.documents[DAY]) == 2


async def test_a_request_that_is_too_large_goes_in_parts(bulk, sink, served) -> None:
    """Whatever fits alone arrives; what does not is refused."""
    bulk.most_bytes = 2_000
    large = served(3, path="/" + "x" * 3_000)
    refused = await sink.deliver(Batch([served(1), served(2), large, served(4), served(5)]))
    assert [(each.index, each.reason) for each in refused] == [(2, "http 413")]
    assert len(bulk.documents[DAY]) == 4


async def test_an_overload_tells_how_long_to_wait(bulk, sink, served) -> None:
    """Retry-After of a whole request goes on to whoever tries again."""
    bulk.refusals = [(429, {"Retry-After": "7"}), (400, {}), (401, {})]
    for status, wait in ((429, 7.0), (400, None), (401, None)):
        with pytest.raises(SinkError, match=str(status)) as caught:
            await sink.deliver(Batch([served(1)]))
        assert caught.value.retry_after_seconds == wait
    assert await sink.deliver(Batch([served(1)])) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"items":[]}',
        b'{"items":[{"index":{"status":201}}]}',
        b'{"items":[{"create":{}}]}',
        b'{"items":[{"create":{"status":400,"error":"text"}}]}',
        b'{"items":[{"create":{"status":400,"error":{"type":7}}}]}',
        b'{"items":7}',
        b'{"items":[{"create":{"status":Infinity}}]}',
        b'{"items":[{"create":{"status":1e999}}]}',
        b"[" * 100_000,
    ],
)
async def test_an_answer_that_is_none(sink, served, monkeypatch, answer: bytes) -> None:
    """Whatever does not tell of each document leaves open what arrived."""
    monkeypatch.setattr(
        "tests.storage.sinks.bulk_server._answer", lambda items, filter_path: web.Response(body=answer)
    )
    with pytest.raises(SinkError, match="answer not understood"):
        await sink.deliver(Batch([served(1)]))


async def test_how_it_is_let_in_and_where_it_goes(bulk, url, served, tmp_path: Path) -> None:
    """The authorization of a file, a pipeline, an index by month and tenant, and bodies where asked for."""
    secret = tmp_path / "key"
    secret.write_text("ApiKey abc=\n")
    sink = await open_sink(
        url,
        authorization_file=str(secret),
        pipeline="enrich geo",
        index="calls-{tenant}-{month}",
        payloads=True,
        payload_bytes=5,
    )
    record = served(1)
    record.tenant = "Team A/B"
    assert await sink.deliver(Batch([record])) == []
    await sink.close()
    assert bulk.authorizations == ["ApiKey abc="]
    assert bulk.pipelines == ["enrich geo"]
    (document,) = bulk.documents["calls-team_a_b-2026.01"].values()
    assert (document["request_text"], document["request_text_cut"]) == ("quest", True)


@pytest.mark.parametrize("index", ["Calls", "_calls", "a b", "calls-{week}", "a,b", "*"])
def test_names_that_no_index_can_have(index: str) -> None:
    """They are told at the start."""
    with pytest.raises(ValueError, match="index"):
        read_kind(SinkTable("search", {"url": "http://127.0.0.1:1", "index": index}))
