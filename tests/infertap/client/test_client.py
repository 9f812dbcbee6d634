"""The client asks for what it was told, page by page, and says in words what went wrong."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from infertap import Client, v1
from infertap.client import (
    ClientError,
    InvalidRequestError,
    RecordNotFoundError,
    UnreachableError,
    make_filter,
)

if TYPE_CHECKING:
    from tests.infertap.conftest import RecordsServer


def numbered(count: int) -> list[v1.Record]:
    return [v1.Record(call_id=f"call-{number}", sequence=number) for number in range(1, count + 1)]


def test_get(server: "RecordsServer") -> None:
    """One record, or only the fields that are wanted."""
    server.records = numbered(3)
    with Client(server.address) as client:
        assert client.get("call-2").sequence == 2
        client.get("call-2", fields=["path", "timing.start"])
    assert list(server.requests[1].read_mask.paths) == ["path", "timing.start"]


def test_list_goes_on_page_by_page(server: "RecordsServer") -> None:
    """All pages are fetched, also short ones, and no more than are asked for."""
    server.records = numbered(500)
    with Client(server.address) as client:
        assert [record.sequence for record in client.list()] == list(range(500, 0, -1))
        assert [request.page_size for request in server.requests] == [200, 200, 200]
        server.requests.clear()
        server.most = 30
        assert len(list(client.list(limit=70))) == 70
        assert [request.page_size for request in server.requests] == [70, 40, 10]
        server.requests.clear()
        assert list(client.list(limit=0)) == []
        assert server.requests == []


def test_list_fetches_when_asked(server: "RecordsServer") -> None:
    """Nothing is fetched before it is needed."""
    server.records = numbered(500)
    with Client(server.address) as client:
        records = client.list()
        assert server.requests == []
        next(records)
        assert len(server.requests) == 1


def test_tail(server: "RecordsServer") -> None:
    """A tail begins with its backlog; leaving it ends the call at the server."""
    server.records = numbered(9)
    with Client(server.address) as client:
        tail = client.tail(backlog=2, model="iris")
        assert [next(tail).sequence, next(tail).sequence] == [8, 9]
        tail.close()
        assert server.tail_has_ended.wait(30)
    assert (server.requests[0].backlog, server.requests[0].filter.model) == (2, "iris")


def test_conditions() -> None:
    """Conditions are the filter's fields, times and durations as Python has them, states by name."""
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    made = make_filter(
        v1.RecordFilter(path="/v1/*"),
        start_time=noon,
        min_duration=timedelta(milliseconds=250),
        states=["failed", v1.CANCELLED],
        http_statuses=[500, 503],
        model="iris",
        tags=["a", "b"],
        input_tokens=(5, None),
        total_tokens=v1.CountRange(max=9),
    )
    assert made.input_tokens == v1.CountRange(min=5)
    assert (made.total_tokens.max, list(made.tags)) == (9, ["a", "b"])
    assert made.start_time.ToDatetime(tzinfo=UTC) == noon
    assert made.min_duration.ToMilliseconds() == 250
    assert list(made.states) == [v1.FAILED, v1.CANCELLED]
    assert (list(made.http_statuses), made.model, made.path) == ([500, 503], "iris", "/v1/*")


@pytest.mark.parametrize(
    ("condition", "named"),
    [
        ({"modle": "x"}, "modle: no such condition"),
        ({"model": 5}, "model"),
        ({"states": ["done"]}, "states: no state 'done'; there are inferencing, completed,"),
        ({"states": "failed"}, "states"),
        ({"http_statuses": ["many"]}, "http_statuses"),
        ({"http_statuses": 500}, "http_statuses"),
        ({"start_time": "yesterday"}, "start_time"),
        ({"min_duration": 5}, "min_duration"),
        ({"model": timedelta(seconds=1)}, "model"),
        ({"min_duration": datetime.now(UTC)}, "min_duration"),
        ({"input_tokens": 5}, "input_tokens"),
        ({"input_tokens": ("a", None)}, "input_tokens"),
    ],
)
def test_wrong_conditions(condition: dict[str, Any], named: str) -> None:
    """A condition that can't be meant is refused before anything is sent, and named."""
    with pytest.raises(InvalidRequestError, match=named):
        make_filter(**condition)


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        (grpc.StatusCode.NOT_FOUND, RecordNotFoundError, "the reason"),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequestError, "the reason"),
        (grpc.StatusCode.UNAVAILABLE, UnreachableError, r"9903.*\(the reason\)"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, UnreachableError, "in time"),
        (grpc.StatusCode.INTERNAL, ClientError, "INTERNAL: the reason"),
    ],
)
def test_errors(server: "RecordsServer", code: grpc.StatusCode, error: type[ClientError], said: str) -> None:
    """Each kind of failure is an error of the client's own, which says what to do; a family catches all."""
    server.fails_with = (code, "the reason")
    with Client(server.address) as client:
        for act in (lambda: client.get("x"), lambda: list(client.list()), lambda: list(client.tail())):
            with pytest.raises(error, match=said):
                act()
    assert issubclass(error, ClientError)


def test_nobody_there() -> None:
    """An address where nobody serves says so, with the address."""
    with Client("127.0.0.1:1") as client, pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1"):
        client.get("x")


def test_address_of_the_environment(server: "RecordsServer", monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address the environment tells, else it is storage on this machine."""
    monkeypatch.setenv("INFERTAP_ADDRESS", server.address)
    server.records = numbered(1)
    with Client() as client:
        assert client.get("call-1").sequence == 1
    monkeypatch.delenv("INFERTAP_ADDRESS")
    with Client() as client:
        assert client.address == "127.0.0.1:9903"


def test_proxy_of_the_environment(server: "RecordsServer", monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names is not asked about this machine."""
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.records = numbered(1)
    with Client(server.address) as client:
        assert client.get("call-1").sequence == 1


def test_figures(server: "RecordsServer") -> None:
    """Groups by name, a bucket as a timedelta; an unknown group is refused before anything is sent."""
    with Client(server.address) as client:
        client.stats(by=["model", "time"], bucket=timedelta(minutes=5), states=["failed"])
        with pytest.raises(InvalidRequestError, match="by: no 'colour'; there are model,"):
            client.stats(by=["colour"])
    (asked,) = server.requests
    dimensions = v1.GetStatsRequest.Dimension
    assert list(asked.group_by) == [dimensions.MODEL, dimensions.TIME]
    assert (asked.bucket.seconds, list(asked.filter.states)) == (300, [v1.FAILED])


def test_an_order(server: "RecordsServer") -> None:
    """The order goes with every page."""
    server.records, server.most = numbered(3), 2
    with Client(server.address) as client:
        assert len(list(client.list(order_by="duration desc"))) == 3
    assert [request.order_by for request in server.requests] == ["duration desc"] * 2
