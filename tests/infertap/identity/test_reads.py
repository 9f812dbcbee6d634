"""Reads: what the access log says of a call."""

from typing import Any

import pytest

from infertap import v1
from infertap.identity.reads import asked_of


def test_texts_are_told_by_their_length() -> None:
    """What was looked for is not quoted; where the page begins is left out."""
    request = v1.ListRecordsRequest(filter=v1.RecordFilter(model="iris", text="secret"), page_token="x")
    assert asked_of(request) == {"filter": {"model": "iris", "text": "(6 characters)"}}


def test_what_an_act_was_about_is_told() -> None:
    """Which sink an admin gave up the records of, and which dead letters were sent again."""
    assert asked_of(v1.DropRefusedRecordsRequest(sink="lake")) == {"sink": "lake"}
    assert asked_of(v1.ResendDeadLettersRequest(sequences=[7, 8])) == {"sequences": ["7", "8"]}


def far(**said: int) -> v1.RecordFilter:
    asked = v1.RecordFilter()
    for name, seconds in said.items():
        getattr(asked, name).seconds = seconds
    return asked


def masked(path: str) -> v1.ListRecordsRequest:
    request = v1.ListRecordsRequest()
    request.read_mask.paths.append(path)
    return request


@pytest.mark.parametrize(
    "request_",
    [
        v1.ListRecordsRequest(filter=far(start_time=-(10**15))),
        v1.DeleteRecordsRequest(filter=far(end_time=1 << 62)),
        v1.GetStatsRequest(filter=far(min_duration=1 << 62)),
        masked("not_1_Path"),
    ],
)
def test_what_json_has_no_form_for(request_: Any) -> None:
    """A time, a span or a mask that none can be is for the service to refuse: it is told as unreadable."""
    assert asked_of(request_) == {"unreadable": True}
