"""The OTLP sink against a receiver that reads what comes with OpenTelemetry's own messages."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from storage.sinks import Batch, SinkError
from storage.sinks.otlp import OtlpSink, read_kind
from storage.sinks.sink_table import SinkTable
from tests.storage.sinks.otlp_receiver import Receiver, record_number, spans_of


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def url(receiver: Receiver) -> AsyncIterator[str]:
    server = TestServer(receiver.app())
    await server.start_server()
    yield str(server.make_url("/"))
    await server.close()


async def open_sink(url: str, **settings: object) -> OtlpSink:
    table = SinkTable("spans", {"url": url, **settings})
    opened = await read_kind(table)()
    table.end()
    assert isinstance(opened, OtlpSink)
    return opened


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
async def test_each_record_is_a_span(receiver, url, served, encoding: str) -> None:
    """Both encodings say the same to OpenTelemetry's own messages."""
    sink = await open_sink(url, encoding=encoding)
    records = [served(each, model__name="iris", model__operation="infer") for each in (1, 2)]
    records[0].trace_id, records[0].span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    assert await sink.deliver(Batch(records)) == []
    await sink.close()
    first, second = spans_of(receiver.traces)
    assert first.trace_id.hex() == records[0].trace_id
    assert first.parent_span_id.hex() == records[0].span_id
    assert first.name == "infer iris"
    assert first.start_time_unix_nano == records[0].timing.start.ToNanoseconds()
    assert second.trace_id.hex() == records[1].call_id.replace("-", "")
    assert second.parent_span_id == b""
    assert {len(first.span_id), len(second.span_id), len({first.span_id, second.span_id})} == {8, 2}
    told = {each.key: each.value for each in first.attributes}
    assert told["http.response.status_code"].int_value == 200
    assert told["infertap.call_id"].string_value == records[0].call_id


async def test_both_encodings_are_the_same_message(receiver, url, served) -> None:
    """Field by field, with every kind of value."""
    record = served(1, model__api="openai", model__operation="chat", http_status=500)
    record.model.parameters_json = '{"temperature":0.5,"stop":["a","é"],"seed":-7,"stream":true}'
    record.timing.first_response_byte_us = 250_000
    record.state, record.error.type, record.error.message = 3, "overloaded", "secret"
    record.is_continued = True
    record.tags.extend(["a", "b"])
    for encoding in ("protobuf", "json"):
        sink = await open_sink(url, encoding=encoding, payloads=True)
        assert await sink.deliver(Batch([record])) == []
        await sink.close()
    binary, as_json = receiver.traces
    assert binary == as_json
    (span,) = spans_of([binary])
    told = {each.key: each.value for each in span.attributes}
    assert told["gen_ai.request.seed"].int_value == -7
    assert told["gen_ai.request.temperature"].double_value == 0.5
    assert [each.string_value for each in told["gen_ai.request.stop_sequences"].array_value.values] == [
        "a",
        "é",
    ]
    assert told["gen_ai.request.stream"].bool_value
    assert _unknown_fields(binary) == 0


def _unknown_fields(message: Message) -> int:
    """Written under a number that the message does not know: gone once it is read and written again."""
    whole = len(message.SerializeToString())
    message.DiscardUnknownFields()
    return whole - len(message.SerializeToString())


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
async def test_spans_that_are_not_accepted_are_refused(receiver, url, served, encoding: str) -> None:
    """A receiver that accepts a part does not say which: all of the request are set aside, and not resent."""
    receiver.rejected = 2
    sink = await open_sink(url, encoding=encoding)
    batch = Batch([served(each) for each in range(1, 5)])
    refused = await sink.deliver(batch)
    assert {each.reason for each in refused} == {"2 of 4 not accepted"}
    assert [each.index for each in refused] == [0, 1, 2, 3]
    assert await sink.deliver(batch) == refused
    await sink.close()
    assert len(receiver.traces) == 1


async def test_a_warning_is_no_rejection(receiver, url, served) -> None:
    """A partial success that rejects none is one."""
    sink = await open_sink(url)
    assert await sink.deliver(Batch([served(1)])) == []
    await sink.close()


async def test_a_receiver_that_is_overloaded(receiver, url, served) -> None:
    """What it asks to wait goes on; a wrong set-up or an odd answer refuses no record."""
    receiver.answers = [
        web.Response(status=429, headers={"Retry-After": "3"}),
        web.Response(status=503),
        web.Response(status=404),
        web.Response(status=200, body=b"<html>", content_type="text/html"),
    ]
    sink = await open_sink(url)
    for said, wait in (("429", 3.0), ("503", None), ("404", None), ("answer not understood", None)):
        with pytest.raises(SinkError, match=said) as caught:
            await sink.deliver(Batch([served(1)]))
        assert caught.value.retry_after_seconds == wait
    assert await sink.deliver(Batch([served(1)])) == []
    await sink.close()


@pytest.mark.parametrize("count", ["1e999", '"many"', "[1]", '"1e5"', "NaN"])
async def test_a_number_that_is_none(receiver, url, served, count: str) -> None:
    """A receiver that says no number of what it did not accept refuses no record."""
    body = f'{{"partialSuccess":{{"rejectedSpans":{count}}}}}'.encode()
    receiver.answers = [web.Response(body=body, content_type="application/json")]
    sink = await open_sink(url, encoding="json")
    with pytest.raises(SinkError, match="answer not understood"):
        await sink.deliver(Batch([served(1)]))
    await sink.close()


async def test_a_bad_span_is_found_among_others(receiver, url, served) -> None:
    """A request refused whole goes in halves: the bad one is refused alone, all others arrive once."""
    receiver.bad_name = "BREW"
    sink = await open_sink(url)
    records = [served(each) for each in range(1, 8)]
    records[4].method = "BREW"
    refused = await sink.deliver(Batch(records))
    await sink.close()
    assert [(each.index, each.reason) for each in refused] == [(4, "http 400")]
    ids = [record_number(span) for span in spans_of(receiver.traces)]
    assert sorted(ids) == [1, 2, 3, 4, 6, 7]


async def test_a_receiver_that_takes_nothing_refuses_no_record(receiver, url, served) -> None:
    """Where not one of many passes, it is the set-up that is wrong."""
    receiver.bad_name = "POST"
    sink = await open_sink(url)
    with pytest.raises(SinkError, match="http 400"):
        await sink.deliver(Batch([served(each) for each in range(1, 20)]))
    await sink.close()


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
async def test_records_can_be_log_records(receiver, url, served, encoding: str) -> None:
    """With the ids of the span that the same record would be."""
    url = f"{url}otlp"
    sink = await open_sink(url, signal="logs", encoding=encoding)
    record = served(1, state=3, http_status=503)
    assert await sink.deliver(Batch([record])) == []
    await sink.close()
    (log,) = receiver.logs[0].resource_logs[0].scope_logs[0].log_records
    assert (log.severity_text, log.severity_number, log.event_name) == ("ERROR", 17, "infertap.call")
    assert log.trace_id.hex() == record.call_id.replace("-", "")
    assert {each.key: each.value.string_value for each in log.attributes}["error.type"] == "503"


def test_the_path_of_the_signal_is_added_once() -> None:
    """As OTEL_EXPORTER_OTLP_ENDPOINT is read; a URL that has the path already is taken as it is."""
    from storage.sinks.otlp import _with_path

    assert _with_path("http://c:4318", "/v1/traces") == "http://c:4318/v1/traces"
    assert _with_path("http://c:4318/otlp/", "/v1/traces") == "http://c:4318/otlp/v1/traces"
    assert _with_path("http://c/v1/traces", "/v1/traces") == "http://c/v1/traces"


def test_what_is_no_message_is_no_answer() -> None:
    """Garbage raises ValueError alone, wherever it is cut; a real answer tells its number."""
    from storage.sinks.otlp_wire import rejected

    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 300
    answer.partial_success.error_message = "no"
    whole = answer.SerializeToString()
    assert rejected(whole) == 300
    for cut in range(1, len(whole)):
        with pytest.raises(ValueError, match="not protobuf"):
            rejected(whole[:cut])
        with pytest.raises(DecodeError):
            ExportTraceServiceResponse.FromString(whole[:cut])
