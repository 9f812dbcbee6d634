"""Conditions: what a query means in the DuckDB engine's SQL. Values are parameters; names are ours. Pure.

Of a call in segments each row says what its segment says, and the call what they say together (see
infertap.query.join_segments). So some conditions hold for all rows of a call or for none; others are asked
of the row where that is the call, of the segments joined, or in Python.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from infertap.query import NOT_COUNTED, Order, Query, Span
from storage.archive.duckdb_feedback import feedback_condition
from storage.archive.entries import Position

_TOKENS: Final = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    # 128 bits, for models may report anything.
    "total_tokens": "CASE WHEN input_tokens IS NULL THEN output_tokens "
    "ELSE input_tokens::HUGEINT + coalesce(output_tokens, 0) END",
}
_ORDERED: Final = {"start_time": "start_ns", "duration": "duration_us"} | {
    key: f"coalesce({expression}, {NOT_COUNTED})" for key, expression in _TOKENS.items()
}
_FAR: Final = 1 << 63
# As infertap.query has it.
_ORDERED["total_tokens"] = (
    f"greatest(least({_ORDERED['total_tokens']}, {_FAR - 1}), -{_FAR}::HUGEINT)::BIGINT"
)


@dataclass(slots=True)
class Clause:
    """A part of a WHERE clause, and its values in the order of their marks."""

    parts: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def must(self, part: str, *values: Any) -> None:
        """Add a condition."""
        self.parts.append(part)
        self.values.extend(values)

    def also(self, other: "Clause") -> None:
        """Add all of another's."""
        self.parts += other.parts
        self.values += other.values

    @property
    def sql(self) -> str:
        """All of them."""
        return " AND ".join(self.parts) or "true"


def conditions(query: Query) -> Clause:
    """What rows that are calls must be; all but the text, which is in no column."""
    of_calls, of_rows = call_conditions(query), row_conditions(query)
    return Clause([of_calls.sql, of_rows.sql], [*of_calls.values, *of_rows.values])


def call_conditions(query: Query) -> Clause:
    """What holds for all segments of a call, or for none."""
    clause = Clause()
    if query.as_of_ns is not None:
        clause.must("stored_ns <= ?", query.as_of_ns)
    if query.start_ns is not None:
        clause.must("start_ns >= ?", query.start_ns)
    if query.end_ns is not None:
        clause.must("start_ns < ?", query.end_ns)
    if query.tenant is not None:
        clause.must("tenant = ?", query.tenant)
    _equal(clause, {"method": query.method, "request_id": query.request_id})
    _prefix(clause, "path", query.path, query.path_is_prefix)
    if query.feedback is not None:
        condition, values = feedback_condition(query.feedback)
        clause.must(condition, *values)
    return clause


def row_conditions(query: Query) -> Clause:
    """What may hold for one segment of a call and not for another."""
    clause = Clause()
    if query.min_duration_us:
        clause.must("duration_us >= ?", query.min_duration_us)
    _equal(
        clause,
        {
            "model": query.model,
            "model_version": query.model_version,
            "caller": query.user,
            "session": query.session,
            "cohort": query.cohort,
            "application_version": query.application_version,
        },
    )
    _one_of(clause, "state", query.states)
    _one_of(clause, "http_status", query.http_statuses)
    _one_of(clause, "grpc_status", query.grpc_statuses)
    _prefix(clause, "error_type", query.error_type, query.error_type_is_prefix)
    if query.tags:
        clause.must("list_has_all(tags, ?::VARCHAR[])", sorted(query.tags))
    if query.finish_reasons:
        clause.must("list_has_any(finish_reasons, ?::VARCHAR[])", sorted(query.finish_reasons))
    if query.redaction_class:
        clause.must("list_contains(redaction_classes, ?)", query.redaction_class)
    for key, span in query.token_spans:
        _within(clause, _TOKENS[key], span)
    return clause


def order_value(order: Order) -> str:
    """The expression that rows are ordered by before all others."""
    return _ORDERED[order.key]


def order_clause(order: Order) -> str:
    """The whole order, for rows that have `value` beside the columns."""
    direction = "DESC" if order.is_descending else "ASC"
    return ", ".join(f"{name} {direction}" for name in ("value", "start_ns", "spool_id", "sequence"))


def behind(order: Order, after: Position) -> Clause:
    """What rows must be that stand after a position."""
    value, sign = order_value(order), "<" if order.is_descending else ">"
    clause = Clause()
    # What the engine can skip row groups by.
    clause.must(f"{value} {sign}= ?", after.order_value)
    clause.must(
        f"({value}, start_ns, spool_id, sequence) {sign} (?, ?, ?, ?)",
        after.order_value,
        after.start_ns,
        after.spool_id,
        after.sequence,
    )
    return clause


def _equal(clause: Clause, wanted: dict[str, str]) -> None:
    for column, value in wanted.items():
        if value:
            clause.must(f"{column} = ?", value)


def _one_of(clause: Clause, column: str, chosen: frozenset[int]) -> None:
    if chosen:
        clause.must(f"{column} IN ({', '.join('?' * len(chosen))})", *sorted(chosen))


def _prefix(clause: Clause, column: str, wanted: str, is_prefix: bool) -> None:
    if wanted:
        clause.must(f"starts_with({column}, ?)" if is_prefix else f"{column} = ?", wanted)


def _within(clause: Clause, expression: str, span: Span) -> None:
    clause.must(f"({expression}) IS NOT NULL")
    if span.low is not None:
        clause.must(f"({expression}) >= ?", span.low)
    if span.high is not None:
        clause.must(f"({expression}) <= ?", span.high)
