"""Conditions: what a query means in ClickHouse's SQL. Pure; values are always parameters, names are ours."""

from typing import Any, Final

from infertap.query import NOT_COUNTED, FeedbackQuery, Order, Query, Span
from storage.archive.entries import Position

_MOST: Final = (1 << 63) - 1
_LEAST: Final = -_MOST - 1
_TOTAL: Final = (
    "if(input_tokens IS NULL AND output_tokens IS NULL, NULL, "
    f"toInt64(greatest(toInt128('{_LEAST}'), least(toInt128('{_MOST}'), "
    "toInt128(ifNull(input_tokens, 0)) + toInt128(ifNull(output_tokens, 0))))))"
)
_COUNTS: Final = {"input_tokens": "input_tokens", "output_tokens": "output_tokens", "total_tokens": _TOTAL}
_ORDERS: Final = {"start_time": "start_ns", "duration": "duration_us"} | {
    name: f"toInt64(ifNull({count}, {NOT_COUNTED}))" for name, count in _COUNTS.items()
}


def order_value(order: Order) -> str:
    """The expression that a list is ordered by."""
    return _ORDERS[order.key]


def order_by(order: Order) -> str:
    """Of rows; what is alike in the key by start, spool and sequence."""
    keys = dict.fromkeys((order_value(order), "start_ns", "spool_id", "sequence"))
    return ", ".join(f"{key} {'DESC' if order.is_descending else 'ASC'}" for key in keys)


class Conditions:
    """A WHERE clause that grows, and its values."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._clauses: list[str] = []
        self.values: dict[str, Any] = {}

    def __str__(self) -> str:
        return " AND ".join(self._clauses) or "1"

    def value(self, kind: str, given: Any) -> str:
        """A place in a statement for `given`."""
        name = f"p{len(self.values)}"
        self.values[name] = given
        return f"{{{name}:{kind}}}"

    def must(self, clause: str, **given: tuple[str, Any]) -> None:
        """Add a clause with {names} for values, each given as its type and itself."""
        places = {name: self.value(*each) for name, each in given.items()}
        self._clauses.append(clause.format(**places))

    def include(self, other: "Conditions") -> None:
        """Add the clauses of `other`, whose values are taken over: before any of its own."""
        assert not self.values
        self._clauses += other._clauses
        self.values.update(other.values)

    # -- of a query

    def of_list(self, query: Query, after: Position | None) -> "Conditions":
        """All that `query` asks for but its text, beyond `after`; for segments only what all of a call's have
        in common, for it is their joined record that must match.
        """
        self.of_all(query)
        if after is not None:
            self.beyond(query.order, after)
        rest = Conditions(self._database)
        rest.values = self.values
        rest.of_row(query)
        if rest._clauses:
            self._clauses.append(f"(is_segment OR ({rest}))")
        return self

    def of_all(self, query: Query) -> None:
        """What holds for every segment of a call alike."""
        if query.tenant is not None:
            self.must("tenant = {x}", x=("String", query.tenant))
        if query.start_ns is not None:
            self.must("start_ns >= {x}", x=("Int64", _bounded(query.start_ns)))
        if query.end_ns is not None:
            self.must("start_ns < {x}", x=("Int64", _bounded(query.end_ns)))
        if query.as_of_ns is not None:
            self.must("stored_ns <= {x}", x=("Int64", _bounded(query.as_of_ns)))
        if query.request_id:
            self.must("request_id = {x}", x=("String", query.request_id))
        if query.method:
            self.must("method = {x}", x=("String", query.method))
        self._text_or_beginning("path", query.path, query.path_is_prefix)
        if query.feedback is not None:
            self._feedback(query.feedback)

    def of_row(self, query: Query) -> None:
        """What a row's own columns say."""
        for column, wanted in (
            ("model", query.model),
            ("model_version", query.model_version),
            ("caller", query.user),
            ("cohort", query.cohort),
            ("session", query.session),
            ("application_version", query.application_version),
        ):
            if wanted:
                self.must(f"{column} = {{x}}", x=("String", wanted))
        for column, chosen in (
            ("state", query.states),
            ("http_status", query.http_statuses),
            ("grpc_status", query.grpc_statuses),
        ):
            if chosen:
                self.must(f"{column} IN {{x}}", x=("Array(Int32)", sorted(chosen)))
        if query.min_duration_us:
            self.must("duration_us >= {x}", x=("Int64", _bounded(query.min_duration_us)))
        self._text_or_beginning("error_type", query.error_type, query.error_type_is_prefix)
        if query.tags:
            self.must("hasAll(tags, {x})", x=("Array(String)", sorted(query.tags)))
        if query.finish_reasons:
            self.must("hasAny(finish_reasons, {x})", x=("Array(String)", sorted(query.finish_reasons)))
        if query.redaction_class:
            self.must("has(redaction_classes, {x})", x=("String", query.redaction_class))
        for name, span in query.token_spans:
            self._span(_COUNTS[name], span)

    def beyond(self, order: Order, after: Position) -> None:
        """What stands behind `after`."""
        sign, value = "<" if order.is_descending else ">", order_value(order)
        self.must(
            f"({value}, start_ns, spool_id, sequence) {sign} "
            "({a}, {b}, toFixedString(unhex({c}), 16), {d})",
            a=("Int64", after.order_value),
            b=("Int64", after.start_ns),
            c=("String", after.spool_id.hex()),
            d=("UInt64", after.sequence),
        )
        # What the engine can skip parts by.
        self.must(f"{value} {sign}= {{x}}", x=("Int64", after.order_value))

    def not_beyond(self, order: Order, last: Position) -> None:
        """What stands at `last` or before."""
        sign, value = ">=" if order.is_descending else "<=", order_value(order)
        self.must(
            f"({value}, start_ns, spool_id, sequence) {sign} "
            "({a}, {b}, toFixedString(unhex({c}), 16), {d})",
            a=("Int64", last.order_value),
            b=("Int64", last.start_ns),
            c=("String", last.spool_id.hex()),
            d=("UInt64", last.sequence),
        )
        self.must(f"{value} {sign} {{x}}", x=("Int64", last.order_value))

    def may_hold(self, text: str) -> None:
        """Whatever `text`, case-folded, may be found in: its longest run of ASCII is looked for, which stands
        in the record's bytes as it is, but for its case. A call in segments may hold it across two of them.
        """
        run = max(_ascii_runs(text), key=len)
        if run:
            self.must(
                "(is_segment OR positionCaseInsensitive(record, {run}) > 0 "
                "OR multiSearchAny(record, {folded}))",
                run=("String", run),
                folded=("Array(String)", FOLD_TO_ASCII),
            )

    def _text_or_beginning(self, column: str, wanted: str, is_prefix: bool) -> None:
        if wanted:
            self.must(
                f"startsWith({column}, {{x}})" if is_prefix else f"{column} = {{x}}", x=("String", wanted)
            )

    def _span(self, count: str, span: Span) -> None:
        low = 0 if span.low is None else span.low
        high = _MOST if span.high is None else span.high
        self.must(
            f"ifNull({count} BETWEEN {{low}} AND {{high}}, 0)",
            low=("Int64", low),
            high=("Int64", _bounded(high)),
        )

    def _feedback(self, query: FeedbackQuery) -> None:
        such = Conditions(self._database)
        such.values = self.values
        if query.min_rating is not None:
            such.must("rating >= {x}", x=("Float64", query.min_rating))
        if query.max_rating is not None:
            such.must("rating <= {x}", x=("Float64", query.max_rating))
        if query.label:
            such.must("has(labels, {x})", x=("String", query.label))
        if query.thumb:
            such.must("thumb = {x}", x=("Int32", query.thumb))
        of_call, of_request = (
            f"(tenant, {each}) IN (SELECT tenant, {each} FROM {self._database}.feedback FINAL "
            f"WHERE {each} <> '' AND {such})"
            for each in ("call_id", "request_id")
        )
        self._clauses.append(f"{'NOT ' * query.is_absent}({of_call} OR {of_request})")


def _bounded(number: int) -> int:
    """As far as a column goes."""
    return min(max(number, _LEAST), _MOST)


def _ascii_runs(text: str) -> list[str]:
    return "".join(each if each.isascii() and each.isprintable() else "\n" for each in text).split("\n")


def _folds_to_ascii(character: str) -> bool:
    return any(each.isascii() for each in character.casefold())


# Characters that fold to ASCII in part: where one of them is, a text may be found that isn't there.
FOLD_TO_ASCII: Final = [chr(code) for code in range(128, 0x1_0000) if _folds_to_ascii(chr(code))]
