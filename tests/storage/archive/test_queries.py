"""What every engine must find: filters, orders, pages, counts and figures, against plain Python."""

import dataclasses
import math
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infertap import v1
from infertap.query import (
    MEASURES,
    SHARES,
    Dimension,
    FeedbackQuery,
    Order,
    Query,
    Span,
    StatsQuery,
    Tally,
    is_segment,
    join_segments,
)
from storage.archive import Archive, ArchiveError, Interrupt, Position, RecordEntry, Stored

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
NOW = 1_767_225_600 * SECOND
SPOOLS = (b"s" * 16, b"t" * 16)
TENANTS = {SPOOLS[0]: "red", SPOOLS[1]: "blue"}


def entry(spool_id: bytes, sequence: int, record: v1.Record) -> RecordEntry:
    """`record` in its envelope."""
    encoded, previous, salt = record.SerializeToString(), bytes(32), b"p" * 16
    sealed = sha256(previous + sequence.to_bytes(8, "big") + salt + encoded).digest()
    return RecordEntry(spool_id, sequence, previous, sealed, salt, encoded, record, TENANTS[spool_id])


def made(number: int) -> v1.Record:
    """A record that looks like few others: what it holds is spread by its number."""
    record = v1.Record(
        call_id=f"01a1fcbe-0000-7000-8000-{number:012x}",
        request_id=f"r-{number // 2}",
        state=(v1.COMPLETED, v1.COMPLETED, v1.FAILED, v1.CANCELLED)[number % 4],
        method="POST" if number % 3 else "GET",
        path=f"/v{number % 2}/models/{number % 5}",
        http_status=(200, 200, 500, 0)[number % 4],
        cohort=("", "a", "b")[number % 3],
        application_version=f"1.{number % 2}",
        tags=["all", f"t{number % 3}"] if number % 4 else [],
        model=v1.Model(
            name=f"m{number % 3}",
            version=str(number % 2),
            finish_reasons=["stop"] if number % 2 else ["length"],
        ),
        caller=v1.Caller(user=f"hmac:{number % 4}", session=f"s{number % 6}"),
        sampling=v1.Sampling(fraction=(1.0, 0.1, 0.25, 0.0)[number % 4], reason=v1.Sampling.RATE),
        request=v1.Payload(data=b"question %d" % number, size_bytes=number),
    )
    # Several that start together.
    record.timing.start.FromNanoseconds(NOW + (number // 3) * 11 * 60 * SECOND)
    record.timing.duration_us = (number * 7919) % 100_003
    record.timing.first_response_byte_us = -1 if number % 5 == 0 else number * 10
    if number % 4 == 2:
        record.error.type = "rate_limit_error" if number % 8 == 2 else "overloaded_error"
    if number % 2:
        record.grpc_status = number % 3
    if number % 3:
        record.model.input_tokens = number % 17
    if number % 7:
        record.model.output_tokens = (1 << 62) if number == 1 else number * 3
    if number % 5 == 1:
        record.request.redactions.add(count=1, field="body", **{"class": "email"})
    if number % 5 == 2:
        record.response.redactions.add(count=1, field="body", **{"class": "payment_card"})
    return record


def segments(number: int) -> list[v1.Record]:
    """A call in three parts, that say more of it as they come."""
    parts = [made(number) for _ in range(3)]
    for place, part in enumerate(parts):
        part.segment, part.is_continued = place, place < 2
        part.state = v1.COMPLETED if place == 2 else v1.INFERENCING
        part.timing.duration_us = 300_000_000 * (place + 1)
        for name in ("input_tokens", "output_tokens", "finish_reasons"):
            part.model.ClearField(name)
    parts[0].model.input_tokens = 12
    parts[0].request.redactions.add(count=2, field="body", **{"class": "phone"})
    parts[2].model.output_tokens = 900
    parts[2].model.finish_reasons.append("stop")
    parts[1].model.name = parts[2].model.name = ""
    return parts


def entries() -> list[RecordEntry]:
    """Sixty calls of two spools, two of them in segments."""
    found: list[RecordEntry] = []
    sequences = dict.fromkeys(SPOOLS, 0)
    for number in range(1, 61):
        spool_id = SPOOLS[number % 2]
        for record in segments(number) if number in (20, 41) else [made(number)]:
            sequences[spool_id] += 1
            found.append(entry(spool_id, sequences[spool_id], record))
    return found


def served(given: Sequence[RecordEntry], stored_ns: int) -> list[v1.Record]:
    """One record for each call, as an archive serves it."""
    calls: dict[str, list[v1.Record]] = {}
    for each in given:
        start_ns = each.parsed.timing.start.ToNanoseconds()
        position = Position(start_ns, start_ns, each.spool_id, each.sequence)
        stored = Stored(position, each.record, stored_ns, each.tenant)
        calls.setdefault(each.parsed.call_id, []).append(stored.served())
    joined = [parts[0] if not is_segment(parts[0]) else join_segments(parts) for parts in calls.values()]
    return [record for record in joined if record is not None]


@pytest.fixture
def filled(archive: Archive) -> Archive:
    """The sixty calls, come in on two days."""
    given = entries()
    archive.append(given[:40], NOW)
    archive.append(given[40:], NOW + 86_400 * SECOND)
    return archive


def listed(archive: Archive, query: Query, size: int = 1000) -> list[v1.Record]:
    """All that matches, page after page."""
    found: list[v1.Record] = []
    after: Position | None = None
    for _ in range(1000):
        page = archive.page(query, after, size, Interrupt())
        found += page.records
        after = page.after
        if after is None:
            return found
    raise AssertionError("no end")


def names(records: Sequence[v1.Record]) -> list[tuple[bytes, int]]:
    return [(record.spool_id, record.sequence) for record in records]


def expected(query: Query) -> list[v1.Record]:
    """What a list must show, by the records alone."""
    found = [record for record in served(entries(), NOW) if query.matches(record)]

    def place(record: v1.Record) -> tuple[int, int, bytes, int]:
        start_ns = record.timing.start.ToNanoseconds()
        return query.order.value_of(record), start_ns, record.spool_id, record.sequence

    return sorted(found, key=place, reverse=query.order.is_descending)


def sometimes(strategy: "st.SearchStrategy[Any]", empty: object) -> "st.SearchStrategy[Any]":
    """Mostly nothing, so that something is found."""
    return st.one_of(st.just(empty), st.just(empty), st.just(empty), st.just(empty), strategy)


SPANS = st.builds(Span, st.none() | st.integers(0, 20), st.none() | st.integers(10, 1 << 63))
QUERIES = st.builds(
    Query,
    start_ns=sometimes(st.integers(NOW, NOW + 4 * HOUR), None),
    end_ns=sometimes(st.integers(NOW, NOW + 4 * HOUR), None),
    model=sometimes(st.sampled_from(["m0", "m1", "m"]), ""),
    model_version=sometimes(st.sampled_from(["0", "1"]), ""),
    states=sometimes(st.frozensets(st.sampled_from([2, 3, 4])), frozenset()),
    http_statuses=sometimes(st.frozensets(st.sampled_from([0, 200, 500])), frozenset()),
    grpc_statuses=sometimes(st.frozensets(st.integers(0, 3)), frozenset()),
    method=sometimes(st.sampled_from(["GET", "POST"]), ""),
    path=sometimes(st.sampled_from(["/v0", "/v1/models/3"]), ""),
    path_is_prefix=st.booleans(),
    min_duration_us=sometimes(st.integers(0, 100_000), 0),
    request_id=sometimes(st.sampled_from(["r-7", "r-10"]), ""),
    user=sometimes(st.sampled_from(["hmac:0", "hmac:1"]), ""),
    text=sometimes(st.sampled_from(["question 1", "question 20question 20"]), ""),
    tags=sometimes(st.frozensets(st.sampled_from(["all", "t0", "t1"])), frozenset()),
    cohort=sometimes(st.sampled_from(["a", "b"]), ""),
    redaction_class=sometimes(st.sampled_from(["email", "payment_card", "phone"]), ""),
    finish_reasons=sometimes(st.frozensets(st.sampled_from(["stop", "length", "x"])), frozenset()),
    error_type=sometimes(st.sampled_from(["rate_limit_error", "rate", "o"]), ""),
    error_type_is_prefix=st.booleans(),
    input_tokens=sometimes(SPANS, None),
    output_tokens=sometimes(SPANS, None),
    total_tokens=sometimes(SPANS, None),
    session=sometimes(st.sampled_from(["s1", "s2"]), ""),
    application_version=sometimes(st.sampled_from(["1.0", "1.1"]), ""),
    tenant=sometimes(st.sampled_from(["red", "blue", "green"]), None),
    order=st.builds(Order, st.sampled_from(["start_time", "duration"]), st.booleans()),
)
MANY = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@MANY
@given(QUERIES, st.sampled_from([1, 3, 1000]))
def test_any_question(filled: Archive, query: Query, size: int) -> None:
    """A list shows what matches, in order, each call once, however the pages are cut; the count agrees."""
    found = expected(query)
    assert names(listed(filled, query, size)) == names(found)
    if not query.text:
        assert filled.count(query, Interrupt()) == len(found)


@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize("key", ["input_tokens", "output_tokens", "total_tokens"])
def test_orders_by_tokens(filled: Archive, key: str, is_descending: bool) -> None:
    """What was not reported stands below all else; ties go by start."""
    query = Query(order=Order(key, is_descending))
    whole = [record for record in listed(filled, query, 4) if not record.segments_joined]
    assert names(whole) == names([each for each in expected(query) if not each.segments_joined])


@pytest.mark.parametrize("key", ["input_tokens", "output_tokens", "total_tokens"])
def test_orders_by_any_number(archive: Archive, key: str) -> None:
    """Counts that no model has, which anybody may send, have their place, and spoil nobody's list."""
    far = 1 << 63
    counts = [(-far, -far), (-far, 5), (-1, 0), (far - 1, far - 1), (0, far - 1)]
    for place, (read, written) in enumerate(counts, 1):
        record = made(place)
        record.model.input_tokens, record.model.output_tokens = read, written
        archive.append([entry(SPOOLS[0], place, record)], NOW)
    for is_descending in (False, True):
        query = Query(order=Order(key, is_descending))
        found = listed(archive, query, 2)
        assert len(found) == len(counts)
        values = [query.order.value_of(record) for record in found]
        assert values == sorted(values, reverse=is_descending)


@pytest.mark.parametrize("key", ["start_time", "duration", "total_tokens"])
@pytest.mark.parametrize("is_descending", [False, True])
def test_pages_while_records_arrive(archive: Archive, key: str, is_descending: bool) -> None:
    """What was there when a list began is shown once, whatever comes between its pages; what comes is not."""
    given = entries()
    archive.append(given[:50], NOW)
    query = Query(order=Order(key, is_descending), as_of_ns=NOW)
    before = names(listed(archive, query))
    found: list[v1.Record] = []
    after: Position | None = None
    for each in given[50:]:
        page = archive.page(query, after, 2, Interrupt())
        found += page.records
        after = page.after
        archive.append([each], NOW + 1)
    while after is not None:
        page = archive.page(query, after, 7, Interrupt())
        found += page.records
        after = page.after
    assert names(found) == before
    assert archive.count(query, Interrupt()) == len(before)


def test_segments_as_of_then(archive: Archive) -> None:
    """A call in segments is listed as it was at that time, with those that had come."""
    for place, part in enumerate(segments(20)):
        archive.append([entry(SPOOLS[0], place + 1, part)], NOW + place)
    for place in range(3):
        (record,) = listed(archive, Query(as_of_ns=NOW + place))
        assert (record.segments_joined, record.sequence, record.is_continued) == (
            place + 1,
            place + 1,
            place < 2,
        )
    assert listed(archive, Query(as_of_ns=NOW - 1)) == []


DIMENSIONS = [number for name, number in Dimension.items() if number and name != "TIME"]


@MANY
@given(
    QUERIES,
    st.lists(st.sampled_from(DIMENSIONS), unique=True, max_size=3),
    st.sampled_from([0, 60, 3600, 7000]),
)
def test_any_figures(filled: Archive, query: Query, group_by: list[int], bucket: int) -> None:
    """Figures are those of the records that match, weighed by the share that was kept, group by group."""
    query = dataclasses.replace(query, text="")
    dimensions = (*group_by, Dimension.TIME) if bucket else tuple(group_by)
    asked = StatsQuery(query, dimensions, bucket * SECOND)
    answer = filled.stats(asked, Interrupt())
    assert not answer.is_cut
    rows = {tuple(row.group): row for row in answer.rows}
    groups = grouped(asked, expected(query))
    assert rows.keys() == groups.keys()
    for key, records in groups.items():
        check_row(rows[key], records)
    calls = [row.calls for row in answer.rows]
    assert calls == sorted(calls, reverse=True)


def grouped(asked: StatsQuery, records: Sequence[v1.Record]) -> dict[tuple[str, ...], list[v1.Record]]:
    """The records of each group, by what the group is called."""
    groups: dict[tuple[str, ...], list[v1.Record]] = {} if asked.group_by else {(): []}
    for record in records:
        groups.setdefault(tuple(label(asked, each, record) for each in asked.group_by), []).append(record)
    return groups


def label(asked: StatsQuery, dimension: int, record: v1.Record) -> str:
    if dimension == Dimension.TIME:
        start = record.timing.start.seconds // (asked.bucket_ns // SECOND) * (asked.bucket_ns // SECOND)
        return v1.Record(timing=v1.Timing(start={"seconds": start})).timing.start.ToJsonString()
    return {
        Dimension.MODEL: record.model.name,
        Dimension.MODEL_VERSION: record.model.version,
        Dimension.METHOD: record.method,
        Dimension.PATH: record.path,
        Dimension.STATE: v1.State.Name(record.state),
        Dimension.HTTP_STATUS: str(record.http_status or ""),
        Dimension.GRPC_STATUS: str(record.grpc_status) if record.HasField("grpc_status") else "",
        Dimension.COHORT: record.cohort,
        Dimension.ERROR_TYPE: record.error.type,
        Dimension.APPLICATION_VERSION: record.application_version,
    }[dimension]


def weight(record: v1.Record) -> float:
    return 1 / record.sampling.fraction if record.sampling.fraction else 1


def check_row(row: v1.StatsRow, records: Sequence[v1.Record]) -> None:
    """Hold a row against its records, one by one."""
    assert row.records == len(records)
    assert row.calls == pytest.approx(sum(map(weight, records)))
    assert row.failed == pytest.approx(sum(weight(each) for each in records if each.state == v1.FAILED))
    assert row.cancelled == pytest.approx(sum(weight(each) for each in records if each.state == v1.CANCELLED))
    assert row.error_share == pytest.approx(row.failed / row.calls if records else 0)
    for name in MEASURES:
        values = sorted((value(each, name), weight(each)) for each in records if value(each, name) >= 0)
        assert row.HasField(name) == bool(values)
        if values:
            check_quantiles(getattr(row, name), values)
        if name.endswith("_tokens"):
            total = sum(each * share for each, share in values)
            assert getattr(row, f"{name}_sum") == pytest.approx(total)


def value(record: v1.Record, name: str) -> int:
    if name == "duration_us":
        return record.timing.duration_us
    if name == "first_byte_us":
        return record.timing.first_response_byte_us
    return getattr(record.model, name) if record.model.HasField(name) else -1


def check_quantiles(found: v1.Quantiles, values: list[tuple[int, float]]) -> None:
    """The smallest value with such a share at or below it: exact when small, else half a percent above."""
    total = sum(share for _, share in values)
    assert found.mean == pytest.approx(sum(each * share for each, share in values) / total)
    assert found.max == values[-1][0]
    for share, got in zip(SHARES, (found.p50, found.p90, found.p95, found.p99), strict=True):
        # Sums of fractions may fall on either side of a share.
        low, high = (exact(values, share * total * (1 + slack)) for slack in (-1e-9, 1e-9))
        assert low <= got <= (high if high < 199 else high * 1.0052)


def exact(values: list[tuple[int, float]], wanted: float) -> int:
    reached = 0.0
    for each, share in values:
        reached += share
        if reached >= wanted:
            return each
    return values[-1][0]


def test_figures_of_many_groups_are_cut(filled: Archive) -> None:
    """Beyond the limit the groups with the most calls are there, with all their figures."""
    asked = StatsQuery(Query(), (Dimension.PATH, Dimension.GRPC_STATUS), most=4)
    whole = filled.stats(dataclasses.replace(asked, most=100), Interrupt())
    cut = filled.stats(asked, Interrupt())
    assert (cut.is_cut, whole.is_cut) == (True, False)
    assert [row.calls for row in cut.rows] == [row.calls for row in whole.rows][:4]
    by_group = {tuple(row.group): row for row in whole.rows}
    assert all(row == by_group[tuple(row.group)] for row in cut.rows)


def test_rates(filled: Archive) -> None:
    """Calls a second: over the time asked for, else from the first call to the last; of a bucket its own."""
    day = Query(start_ns=NOW, end_ns=NOW + 24 * HOUR)
    (row,) = filled.stats(StatsQuery(day), Interrupt()).rows
    assert row.calls_per_second == pytest.approx(row.calls / 86_400)
    (row,) = filled.stats(StatsQuery(Query()), Interrupt()).rows
    starts = [record.timing.start.seconds for record in expected(Query())]
    assert row.calls_per_second == pytest.approx(row.calls / (max(starts) - min(starts)))
    hours = filled.stats(StatsQuery(day, (Dimension.TIME,), HOUR), Interrupt()).rows
    assert [row.calls_per_second for row in hours] == pytest.approx([row.calls / 3600 for row in hours])


def test_questions_by_feedback(filled: Archive) -> None:
    """Lists, counts and figures agree on which calls have feedback, by either id; segments are one call."""
    calls = [made(number) for number in (3, 20)]
    given = [v1.Feedback(feedback_id=f"f-{each.call_id}", call_id=each.call_id, rating=2) for each in calls]
    given.append(v1.Feedback(feedback_id="g", request_id="r-5", labels=["wrong"]))
    for each in given:
        each.received_at.FromNanoseconds(NOW)
        each.tenant = "red"
    filled.attach(given)
    for feedback, tenant, count in (
        (FeedbackQuery(), None, 2),
        (FeedbackQuery(label="wrong"), None, 1),
        (FeedbackQuery(min_rating=3), None, 0),
        (FeedbackQuery(is_absent=True), None, 58),
        (FeedbackQuery(), "red", 2),
        (FeedbackQuery(), "blue", 0),
    ):
        query = Query(feedback=feedback, tenant=tenant)
        found = listed(filled, query, 7)
        assert len(found) == filled.count(query, Interrupt()) == count, (feedback, tenant)
        answer = filled.stats(StatsQuery(query, (Dimension.MODEL,)), Interrupt())
        assert sum(row.records for row in answer.rows) == count


def test_no_figures(archive: Archive) -> None:
    """Of nothing there is one row of zeros, or no row where it is grouped."""
    (row,) = archive.stats(StatsQuery(Query()), Interrupt()).rows
    assert row == v1.StatsRow()
    assert not archive.stats(StatsQuery(Query(), (Dimension.MODEL,)), Interrupt()).rows
    assert archive.count(Query(), Interrupt()) == 0


def test_interrupted_figures(filled: Archive) -> None:
    """Statistics that nobody waits for any more end."""
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(ArchiveError):
        filled.stats(StatsQuery(Query(), (Dimension.MODEL,)), interrupt)


def test_the_tally_agrees(filled: Archive) -> None:
    """What is counted record by record, where no engine counts, is the same."""
    asked = StatsQuery(Query(), (Dimension.MODEL, Dimension.TIME, Dimension.GRPC_STATUS), 2 * HOUR)
    tally = Tally(asked)
    for record in expected(Query()):
        tally.add(record)
    ours = {tuple(row.group): row for row in tally.answer().rows}
    theirs = {tuple(row.group): row for row in filled.stats(asked, Interrupt()).rows}
    assert ours.keys() == theirs.keys()
    for key, row in ours.items():
        for field, number in row.ListFields():
            if field.name != "group":
                check_alike(number, getattr(theirs[key], field.name))


def check_alike(ours: Any, theirs: Any) -> None:
    if isinstance(ours, v1.Quantiles):
        for field, number in ours.ListFields():
            assert getattr(theirs, field.name) == pytest.approx(number, rel=0.006)
    else:
        assert math.isclose(ours, theirs, rel_tol=1e-9)
