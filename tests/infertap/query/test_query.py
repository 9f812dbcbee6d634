"""Filters, page tokens and masks: what they let through, and what they refuse."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from infertap import v1
from infertap.query import (
    InvalidArgumentError,
    Order,
    PageTokens,
    Query,
    ReadMask,
    may_hold,
    read_backlog,
    read_call_id,
    read_page_size,
)


def record() -> v1.Record:
    return v1.Record(
        state=v1.FAILED,
        method="POST",
        path="/v2/models/iris/infer",
        http_status=503,
        grpc_status=14,
        request_id="r-1",
        model=v1.Model(name="iris", version="3", finish_reasons=["length"], input_tokens=12),
        caller=v1.Caller(user="hmac:k:1", session="hmac:k:9"),
        timing=v1.Timing(start=Timestamp(seconds=100, nanos=5), duration_us=1500),
        request=v1.Payload(data="Grüße aus KÖLN".encode()),
        response=v1.Payload(
            decoded_json='{"answer":"Berlin"}',
            redactions=[v1.Redaction(count=1, field="body", **{"class": "email"})],
        ),
        cohort="b",
        application_version="1.4",
        tags=["beta", "eu"],
        error=v1.Error(type="rate_limit_error"),
        tenant="red",
    )


MATCHING: list[dict[str, Any]] = [
    {},
    {"start_time": Timestamp(seconds=100, nanos=5)},
    {"end_time": Timestamp(seconds=100, nanos=6)},
    {"model": "iris", "model_version": "3"},
    {"states": [v1.COMPLETED, v1.FAILED]},
    {"http_statuses": [503]},
    {"grpc_statuses": [14, 0]},
    {"method": "POST"},
    {"path": "/v2/models/iris/infer"},
    {"path": "/v2/*"},
    {"path": "*"},
    {"min_duration": Duration(nanos=1_500_000)},
    {"request_id": "r-1"},
    {"user": "hmac:k:1"},
    {"text": "köln"},
    {"text": "BERLIN"},
    {"tags": ["eu", "beta"]},
    {"cohort": "b", "application_version": "1.4", "session": "hmac:k:9"},
    {"redaction_class": "email"},
    {"finish_reasons": ["stop", "length"]},
    {"error_type": "rate_limit_error"},
    {"error_type": "rate_*"},
    {"input_tokens": v1.CountRange(min=12, max=12)},
    {"total_tokens": v1.CountRange(max=12)},
]
OTHERS: list[dict[str, Any]] = [
    {"start_time": Timestamp(seconds=100, nanos=6)},
    {"end_time": Timestamp(seconds=100, nanos=5)},
    {"model": "iri"},
    {"model_version": "2"},
    {"states": [v1.COMPLETED]},
    {"http_statuses": [500]},
    {"grpc_statuses": [0]},
    {"method": "post"},
    {"path": "/v2"},
    {"path": "/v1/*"},
    {"min_duration": Duration(nanos=1_501_000)},
    {"request_id": "r"},
    {"user": "hmac:k:2"},
    {"text": "paris"},
    {"tags": ["eu", "us"]},
    {"cohort": "a"},
    {"application_version": "1"},
    {"session": "hmac:k"},
    {"redaction_class": "phone"},
    {"finish_reasons": ["stop"]},
    {"error_type": "rate"},
    {"input_tokens": v1.CountRange(min=13)},
    {"input_tokens": v1.CountRange(max=11)},
    {"output_tokens": v1.CountRange(min=0)},
    {"total_tokens": v1.CountRange(min=13)},
]


@pytest.mark.parametrize("fields", MATCHING)
def test_matching(fields: dict[str, Any]) -> None:
    """A filter whose every field holds lets the record through."""
    assert Query.of(v1.RecordFilter(**fields)).matches(record())


@pytest.mark.parametrize("fields", OTHERS)
def test_others(fields: dict[str, Any]) -> None:
    """One field that does not hold is enough to leave the record out."""
    assert not Query.of(v1.RecordFilter(**fields)).matches(record())


def test_filters_that_leave_out_nothing() -> None:
    """What looks like a filter and is none is known for it; what leaves out anything is one."""
    hour, year = 3600, 366 * 86_400
    for fields in (
        {},
        {"start_time": Timestamp()},
        {"end_time": Timestamp(seconds=year + 1)},
        {"path": "*", "error_type": "*"},
        {"states": [v1.COMPLETED, v1.FAILED, v1.CANCELLED]},
        {"min_duration": Duration(nanos=999)},
    ):
        query = Query.of(v1.RecordFilter(**fields), "duration", tenant="red")  # type: ignore[arg-type]
        assert query.leaves_out_nothing(year * 1_000_000_000), fields
    for fields in (*OTHERS, {"start_time": Timestamp(seconds=hour)}, {"end_time": Timestamp(seconds=year)}):
        asked = Query.of(v1.RecordFilter(**fields))  # type: ignore[arg-type]
        assert not asked.leaves_out_nothing(year * 1_000_000_000), fields


def test_tenants() -> None:
    """Whoever has a tenant sees that one's records, also where they are of nobody."""
    asked = v1.RecordFilter()
    assert Query.of(asked, tenant="red").matches(record())
    assert not Query.of(asked, tenant="blue").matches(record())
    assert not Query.of(asked, tenant="").matches(record())
    assert Query.of(asked).matches(record())


@pytest.mark.parametrize(
    ("asked", "order"),
    [
        ("", Order("start_time", True)),
        ("start_time", Order("start_time", False)),
        ("  duration   desc ", Order("duration", True)),
        ("total_tokens", Order("total_tokens", False)),
    ],
)
def test_orders(asked: str, order: Order) -> None:
    """A key, ascending unless it says otherwise; the latest first where nothing is asked for."""
    assert Query.of(v1.RecordFilter(), asked).order == order


@pytest.mark.parametrize(
    "asked", ["model", "desc", "start_time asc", "start_time, duration", "start_time desc desc"]
)
def test_refused_orders(asked: str) -> None:
    """What can't be meant is refused."""
    with pytest.raises(InvalidArgumentError) as caught:
        Query.of(v1.RecordFilter(), asked)
    assert caught.value.field == "order_by"


def test_order_of_calls_in_flight() -> None:
    """Calls in flight have one order; in another, those just lost are left out and the rest is refused."""
    assert Query.of(v1.RecordFilter(states=[v1.FAILED])).wants_in_flight
    assert not Query.of(v1.RecordFilter(states=[v1.FAILED]), "duration").wants_in_flight
    with pytest.raises(InvalidArgumentError, match="order_by: calls in flight"):
        Query.of(v1.RecordFilter(states=[v1.INFERENCING]), "duration")


def test_digests() -> None:
    """What is asked for, its order and whose it is make a query; as of when it is does not."""
    plain = Query()
    others = [Query(order=Order("duration")), Query(tenant=""), Query(tags=frozenset("a")), Query(path="a")]
    assert len({each.digest for each in (plain, *others)}) == 5
    assert Query(as_of_ns=5).digest == plain.digest
    assert Query(tags=frozenset("abcdefg")).digest == Query(tags=frozenset("gfedcba")).digest


@given(st.text(max_size=5), st.binary(max_size=8), st.binary(max_size=8), st.text(max_size=3))
def test_records_that_may_hold_a_text(text: str, before: bytes, after: bytes, json: str) -> None:
    """A record is never passed over that a text would be found in, whatever bytes are around it."""
    made = v1.Record(
        request=v1.Payload(data=before + text.encode("utf-8", "ignore") + after),
        response=v1.Payload(decoded_json=json),
    )
    asked = text.casefold()
    if Query(text=asked).matches(made):
        assert may_hold(made.SerializeToString(), asked)


def test_absent_grpc_status() -> None:
    """No gRPC status is not OK, which is 0."""
    plain = record()
    plain.ClearField("grpc_status")
    assert not Query.of(v1.RecordFilter(grpc_statuses=[0])).matches(plain)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"start_time": Timestamp(seconds=1 << 50)}, "filter.start_time"),
        ({"end_time": Timestamp(nanos=-1)}, "filter.end_time"),
        ({"start_time": Timestamp(seconds=5), "end_time": Timestamp(seconds=5)}, "filter.end_time"),
        ({"states": [0]}, "filter.states"),
        ({"states": [99]}, "filter.states"),
        ({"http_statuses": [-1]}, "filter.http_statuses"),
        ({"http_statuses": range(200)}, "filter.http_statuses"),
        ({"grpc_statuses": [17]}, "filter.grpc_statuses"),
        ({"min_duration": Duration(seconds=-1)}, "filter.min_duration"),
        ({"min_duration": Duration(seconds=1 << 50)}, "filter.min_duration"),
        ({"text": "x" * 1025}, "filter.text"),
        ({"path": "x" * 1025}, "filter.path"),
        ({"cohort": "x" * 1025}, "filter.cohort"),
        ({"tags": ["x" * 1025]}, "filter.tags"),
        ({"tags": [""]}, "filter.tags"),
        ({"finish_reasons": map(str, range(200))}, "filter.finish_reasons"),
        ({"input_tokens": v1.CountRange(min=-1)}, "filter.input_tokens"),
        ({"total_tokens": v1.CountRange(min=5, max=4)}, "filter.total_tokens.max"),
    ],
)
def test_refused_filters(fields: dict[str, Any], named: str) -> None:
    """What can't be meant is refused, by the name of its field."""
    with pytest.raises(InvalidArgumentError) as caught:
        Query.of(v1.RecordFilter(**fields))
    assert caught.value.field == named


@pytest.mark.parametrize(
    ("read", "value", "named"),
    [
        (read_page_size, -1, "page_size"),
        (read_backlog, -1, "backlog"),
        (read_backlog, 1001, "backlog"),
        (read_call_id, "", "call_id"),
        (read_call_id, "no uuid", "call_id"),
    ],
)
def test_refused_values(read: Callable[[Any], object], value: object, named: str) -> None:
    """Sizes and ids out of bounds are refused, by the name of their field."""
    with pytest.raises(InvalidArgumentError) as caught:
        read(value)
    assert caught.value.field == named


def test_page_sizes() -> None:
    """No size is the default one, a large one the largest."""
    assert [read_page_size(asked) for asked in (0, 1, 1000, 5000)] == [50, 1, 1000, 1000]


@given(st.binary(min_size=8, max_size=8))
def test_tokens(position: bytes) -> None:
    """A token gives its position back to the same query and to no other."""
    tokens = PageTokens(Query(model="iris"), 8)
    token = tokens.pack(position)
    assert tokens.unpack(token) == position
    assert tokens.unpack("") is None
    with pytest.raises(InvalidArgumentError, match="page_token: of another filter"):
        PageTokens(Query(model="wine"), 8).unpack(token)


@given(st.text(max_size=40) | st.just("x" * 10_000))
def test_any_token(token: str) -> None:
    """Any other text is refused as a token, or is the first page."""
    tokens = PageTokens(Query(), 8)
    if token:
        with pytest.raises(InvalidArgumentError, match="page_token"):
            tokens.unpack(token)


def test_masks() -> None:
    """Only wanted fields remain; nothing asked, or `*`, is everything."""
    assert ReadMask(FieldMask(paths=["path", "model.name"])).apply(record()) == v1.Record(
        path="/v2/models/iris/infer", model=v1.Model(name="iris")
    )
    for everything in ([], ["*"]):
        assert ReadMask(FieldMask(paths=everything)).apply(record()) == record()


@pytest.mark.parametrize("paths", [["nothing"], ["model.nothing"], [""], ["path", "*"], ["path"] * 101])
def test_refused_masks(paths: list[str]) -> None:
    """A path that no record has is refused."""
    with pytest.raises(InvalidArgumentError) as caught:
        ReadMask(FieldMask(paths=paths))
    assert caught.value.field == "read_mask"


def test_a_duration_that_none_can_have_hides_no_record() -> None:
    """A record that says it took less than no time matches what asks for no duration: else it could neither
    be listed nor deleted.
    """
    record = v1.Record(path="/x")
    record.timing.duration_us = -(1 << 63)
    assert Query.of(v1.RecordFilter(path="/x")).matches(record)
    shortest = v1.RecordFilter(path="/x")
    shortest.min_duration.seconds = 1
    assert not Query.of(shortest).matches(record)
