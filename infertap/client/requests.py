"""Requests: what both clients send, and how pages follow each other. Pure."""

import uuid
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from google.protobuf.field_mask_pb2 import FieldMask

from infertap import v1
from infertap.client.errors import InvalidRequestError
from infertap.client.filters import dimension, duration, make_filter
from infertap.feedback import make_feedback

_PAGE: Final = 200


def get_request(call_id: str, fields: Iterable[str]) -> v1.GetRecordRequest:
    """For one record."""
    return v1.GetRecordRequest(call_id=call_id, read_mask=FieldMask(paths=fields))


def list_request(
    base: v1.RecordFilter | None, conditions: Mapping[str, Any], fields: Iterable[str], order_by: str
) -> v1.ListRecordsRequest:
    """For the first page; raises InvalidRequestError, as all that read conditions do."""
    return v1.ListRecordsRequest(
        filter=make_filter(base, **conditions), read_mask=FieldMask(paths=fields), order_by=order_by
    )


def tail_request(
    base: v1.RecordFilter | None, conditions: Mapping[str, Any], fields: Iterable[str], backlog: int
) -> v1.TailRecordsRequest:
    """For records as they arrive."""
    return v1.TailRecordsRequest(
        filter=make_filter(base, **conditions), read_mask=FieldMask(paths=fields), backlog=backlog
    )


def export_request(
    base: v1.RecordFilter | None, conditions: Mapping[str, Any], fields: Iterable[str], resume_token: str
) -> v1.ExportRecordsRequest:
    """For everything that matches."""
    return v1.ExportRecordsRequest(
        filter=make_filter(base, **conditions), read_mask=FieldMask(paths=fields), resume_token=resume_token
    )


def stats_request(
    base: v1.RecordFilter | None,
    conditions: Mapping[str, Any],
    by: Iterable[str],
    bucket: timedelta | None,
) -> v1.GetStatsRequest:
    """For figures."""
    request = v1.GetStatsRequest(
        filter=make_filter(base, **conditions), group_by=[dimension(name) for name in by]
    )
    if bucket is not None:
        request.bucket.CopyFrom(duration(bucket))
    return request


def feedback_of(said: Mapping[str, Any]) -> v1.Feedback:
    """One piece of feedback; raises InvalidRequestError."""
    try:
        return make_feedback(**said)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(str(error)) from None


def attach_request(given: Iterable[v1.Feedback]) -> v1.AttachFeedbackRequest:
    """To give feedback; each piece has an id of its own, so that it may be sent again."""
    request = v1.AttachFeedbackRequest(feedback=given)
    for each in request.feedback:
        each.feedback_id = each.feedback_id or str(uuid.uuid4())
    return request


class Paging:
    """Page after page of one list, until it ends or there is enough."""

    def __init__(self, request: Any, limit: int | None) -> None:
        """`request` is one with page_size and page_token."""
        self.request = request
        self._left = limit
        self._is_at_end = False

    @property
    def is_open(self) -> bool:
        """Whether another page is to be asked for, by `request`, which is made ready."""
        if self._is_at_end or (self._left is not None and self._left <= 0):
            return False
        self.request.page_size = _PAGE if self._left is None else min(self._left, _PAGE)
        return True

    def turn(self, next_page_token: str, count: int) -> None:
        """A page has come, of so many."""
        self.request.page_token = next_page_token
        self._is_at_end = not next_page_token
        self._left = None if self._left is None else self._left - count
