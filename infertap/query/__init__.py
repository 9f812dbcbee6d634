"""Query: what a filter, an order, a page token, a field mask and figures mean, wherever records are served.

The door of the room. Pure but for `abort_invalid`, which answers a gRPC call.
"""

from infertap.query.checks import Span
from infertap.query.errors import InvalidArgumentError, abort_exhausted, abort_invalid
from infertap.query.feedback import FeedbackQuery
from infertap.query.filtering import Query, may_hold, redaction_classes
from infertap.query.in_flight import InFlightPage, Shown, page_in_flight
from infertap.query.masks import ReadMask
from infertap.query.ordering import LATEST_FIRST, NOT_COUNTED, Order, token_count
from infertap.query.paging import (
    BACKLOG_MOST,
    PAGE_MOST,
    PageTokens,
    read_backlog,
    read_call_id,
    read_page_size,
)
from infertap.query.segments import is_segment, join_segments
from infertap.query.stats import (
    FINENESS,
    GROUPS_MOST,
    LEAST_FRACTION,
    MEASURES,
    SHARES,
    Dimension,
    Figures,
    Measured,
    StatsQuery,
    stats_row,
)
from infertap.query.tally import Tally, TooManyFiguresError

__all__ = [
    "BACKLOG_MOST",
    "FINENESS",
    "GROUPS_MOST",
    "LATEST_FIRST",
    "LEAST_FRACTION",
    "MEASURES",
    "NOT_COUNTED",
    "PAGE_MOST",
    "SHARES",
    "Dimension",
    "FeedbackQuery",
    "Figures",
    "InFlightPage",
    "InvalidArgumentError",
    "Measured",
    "Order",
    "PageTokens",
    "Query",
    "ReadMask",
    "Shown",
    "Span",
    "StatsQuery",
    "Tally",
    "TooManyFiguresError",
    "abort_exhausted",
    "abort_invalid",
    "is_segment",
    "join_segments",
    "may_hold",
    "page_in_flight",
    "read_backlog",
    "read_call_id",
    "read_page_size",
    "redaction_classes",
    "stats_row",
    "token_count",
]
