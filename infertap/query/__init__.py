"""Query: what a filter, a page token and a field mask mean, the same wherever records are served.

The door of the room. Pure but for `abort_invalid`, which answers a gRPC call.
"""

from infertap.query.errors import InvalidArgumentError, abort_invalid
from infertap.query.feedback import FeedbackQuery
from infertap.query.filtering import Query
from infertap.query.in_flight import InFlightPage, Shown, page_in_flight
from infertap.query.masks import ReadMask
from infertap.query.paging import (
    BACKLOG_MOST,
    PAGE_MOST,
    PageTokens,
    read_backlog,
    read_call_id,
    read_page_size,
)
from infertap.query.segments import is_segment, join_segments

__all__ = [
    "BACKLOG_MOST",
    "PAGE_MOST",
    "FeedbackQuery",
    "InFlightPage",
    "InvalidArgumentError",
    "PageTokens",
    "Query",
    "ReadMask",
    "Shown",
    "abort_invalid",
    "is_segment",
    "join_segments",
    "page_in_flight",
    "read_backlog",
    "read_call_id",
    "read_page_size",
]
