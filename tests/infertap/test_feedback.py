"""Feedback as a caller gives it: what becomes of what is said, and what can't be meant."""

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from infertap import Client, v1
from infertap.client import ClientError, InvalidRequestError, make_filter
from infertap.feedback import make_feedback

if TYPE_CHECKING:
    from tests.infertap.conftest import RecordsServer


def test_everything_that_can_be_said() -> None:
    """Each argument becomes a field; ground truth is JSON of any type."""
    made = make_feedback(
        request_id="r",
        feedback_id="f",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        source="web",
        rating=0,
        thumb="up",
        labels=["a"],
        comment="b",
        correction="c",
        ground_truth={"x": [1, None]},
        events={"copied": None, "read_seconds": 2.5},
    )
    assert made == v1.Feedback(
        feedback_id="f",
        request_id="r",
        time=made.time,
        source="web",
        rating=0,
        thumb=v1.THUMB_UP,
        labels=["a"],
        comment="b",
        correction="c",
        ground_truth_json='{"x": [1, null]}',
        events=[v1.FeedbackEvent(name="copied"), v1.FeedbackEvent(name="read_seconds", value=2.5)],
    )
    assert made.time.ToDatetime(UTC) == datetime(2026, 1, 1, tzinfo=UTC)


def test_null_is_a_ground_truth() -> None:
    """None is a value; only what is not given is absent. An id is made, so that sending again is safe."""
    assert make_feedback(call_id="c", ground_truth=None).ground_truth_json == "null"
    made = make_feedback(call_id="c", rating=1)
    assert (made.ground_truth_json, made.call_id) == ("", "c")
    assert uuid.UUID(made.feedback_id)


@pytest.mark.parametrize(
    "said",
    [
        {"rating": 1},
        {"call_id": "c", "request_id": "r"},
        {"call_id": "c", "thumb": "sideways"},
        {"call_id": "c", "ground_truth": float("nan")},
        {"call_id": "c", "ground_truth": object()},
        {"call_id": "c", "rating": "high"},
        {"call_id": "c", "nonsense": 1},
    ],
)
def test_what_cannot_be_meant(server: "RecordsServer", said: dict[str, Any]) -> None:
    """It is refused before anything is sent."""
    with Client(server.address) as client, pytest.raises(InvalidRequestError):
        client.feedback(**said)
    assert server.requests == []


def test_history_page_by_page(server: "RecordsServer") -> None:
    """All pages are fetched, and no more than are asked for."""
    server.most = 3
    with Client(server.address) as client:
        attached = client.attach_feedback(
            [make_feedback(call_id="c", feedback_id=f"f-{n}", rating=n) for n in range(10)]
        )
        assert [each.feedback_id for each in attached] == [f"f-{n}" for n in range(10)]
        found = [each.rating for each in client.list_feedback(call_id="c")]
        assert found == list(range(9, -1, -1))
        assert len(list(client.list_feedback(request_id="r", limit=4))) == 4


def test_where_there_is_no_feedback(server: "RecordsServer") -> None:
    """A server that has no such service is told from a fault: it is a sidecar."""
    server.fails_with = (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
    with (
        Client(server.address) as client,
        pytest.raises(ClientError, match="goes to central storage") as raised,
    ):
        client.feedback(call_id="c", rating=1)
    assert "INFERTAP_ADDRESS" in str(raised.value)
    assert "not found" not in str(raised.value)


def test_filter() -> None:
    """Any feedback, none, or such."""
    such = v1.FeedbackFilter(label="a")
    assert make_filter(feedback=True).HasField("feedback")
    assert make_filter(feedback=False).feedback.is_absent
    assert make_filter(feedback=such).feedback == such
    with pytest.raises(InvalidRequestError, match="feedback"):
        make_filter(feedback="yes")
