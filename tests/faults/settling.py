"""Settling: how every test of faults ends: law 4 balances, and what is stored is what was said.

Three witnesses are held against each other and against the calls that were made: the sidecar's account (from
/account and from /metrics, which must agree), the books in its spool, and what storage holds, which is asked
for all records, and opened afterwards for the sequences it calls received.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infertap import v1
from sidecar.spool import Spool
from storage.archive import open_archive
from tests.faults.calls import body_of, events_of, number_of
from tests.journeys.conftest import await_true

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Sidecar, Storage

_METRIC = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
# The forwarder's pauses grow to half a minute while storage is away, or the spool fails.
_REST_SECONDS = 75.0
LOST_IN_SPOOL = ("evicted_unacked", "dead_lettered", "corrupt", "expired")


def metrics(sidecar: "Sidecar") -> dict[str, float]:
    """The metrics by name and labels as they are printed."""
    found = _METRIC.findall(sidecar.get("/metrics")[1])
    return {f"{name}{{{labels}}}" if labels else name: float(value) for name, labels, value in found}


def reasons(line: dict[str, Any], prefix: str) -> int:
    """The sum of the terms of one kind."""
    return sum(count for name, count in line.items() if name.startswith(prefix))


def lost(account: dict[str, Any]) -> int:
    """Calls that the account, over all runs, says have no record that can still be had."""
    return sum(
        (
            reasons(account["calls"], "shed_"),
            reasons(account["hand_over"], "dropped_"),
            account["hand_over"]["lost_crash"],
            sum(account["earlier"][name] for name in ("shed", "dropped", "lost_crash")),
            sum(account["spool"][name] for name in LOST_IN_SPOOL),
        )
    )


def settle(
    sidecar: "Sidecar",
    storage: "Storage | None",
    calls: "Calls",
    *,
    unseen: int = 0,
    is_set_aside: bool = False,
) -> dict[str, Any]:
    """Await rest, and check everything; returns the account. Ends storage and sidecar.

    `unseen`: calls that a killed sidecar may have taken with its page. `is_set_aside`: a spool was given up
    on the way, so that what it held is no longer in the books.
    """
    account = _rest(sidecar, storage is not None)
    _check_metrics(sidecar, account)
    records = storage.records() if storage is not None else sidecar.records()
    check_data(records)
    seen = account["calls"]["seen"] + account["earlier"]["seen"]
    assert len(calls.answered) <= len(calls.begun)
    assert len(calls.begun) - unseen <= seen <= len(calls.begun), (len(calls.begun), account)
    if not is_set_aside:
        # Storage may have committed what made room before its acknowledgement came.
        twice = len(records) + lost(account) - seen
        assert 0 <= twice <= account["spool"]["evicted_unacked"], (len(records), account)
    assert sidecar.stop() == 0
    spool_id, received_to = _check_spool(sidecar, records, account, storage is not None)
    if storage is not None:
        assert storage.stop() == 0
        _check_received(storage.archive, spool_id, received_to)
    return account


def check_data(records: list[v1.Record]) -> None:
    """Each record is there once, by key and by call, and holds exactly what its call sent and received."""
    assert len({(record.spool_id, record.sequence) for record in records}) == len(records)
    assert len({record.call_id for record in records}) == len(records)
    assert len({record.request_id for record in records}) == len(records)
    for record in records:
        body = body_of(number_of(record.request_id), _size_of(record))
        is_stream = record.response.content_type == "text/event-stream"
        for side, whole in (
            (record.request, body),
            (record.response, events_of(body) if is_stream else body),
        ):
            assert side.data == whole[: len(side.data)], record.request_id
            assert record.state != v1.COMPLETED or side.data == whole, record.request_id


def _size_of(record: v1.Record) -> int:
    """What `body_of` was asked for, from the length."""
    return record.request.size_bytes - len(b'{"text": ""}')


def _rest(sidecar: "Sidecar", is_sent: bool) -> dict[str, Any]:
    """The account once nothing moves; it must balance."""
    shown = "infertap_recorder_next_sequence"
    await_true(lambda: metrics(sidecar)[shown] > 0, "its recorder shows the spool's books")
    return sidecar.await_account(
        lambda each: (
            each["calls"]["open"] == 0
            and each["hand_over"]["in_transit"] == 0
            and (each["spool"]["pending"] == 0 or not is_sent)
            and each["balanced"]
        ),
        _REST_SECONDS,
    )


def _check_metrics(sidecar: "Sidecar", account: dict[str, Any]) -> None:
    """What Prometheus gets says the same."""
    told = metrics(sidecar)
    assert all(
        told[f'infertap_account_balanced{{line="{line}"}}'] for line in ("calls", "hand_over", "spool")
    )
    assert told["infertap_in_transit"] == 0
    for name in ("acked", "pending", *LOST_IN_SPOOL):
        assert told[f"infertap_recorder_{name}"] == account["spool"][name], name
    seen = sum(count for name, count in told.items() if name.startswith("infertap_relay_seen_total"))
    assert seen == account["calls"]["seen"]


def _check_spool(
    sidecar: "Sidecar", records: list[v1.Record], account: dict[str, Any], is_sent: bool
) -> tuple[bytes, int]:
    """The books in the file say what the account said; returns the spool's id and its last sequence."""
    directory = Path(sidecar.environ["INFERTAP_SPOOL_DIR"])
    spool = Spool.open(directory, int(_bytes(sidecar.environ["INFERTAP_SPOOL_BYTES"])), ring=not is_sent)
    try:
        books, spool_id = spool.account(), spool.spool_id
        for name in ("acked", "pending", *LOST_IN_SPOOL):
            assert getattr(books, name) == account["spool"][name], name
        assert books.appended == account["spool"]["appended_ever"]
        mine = [record for record in records if record.spool_id == spool_id]
        kept = books.acked if is_sent else books.pending
        assert kept <= len(mine) <= kept + books.evicted_unacked, (len(mine), books)
        return spool_id, books.next_sequence - 1
    finally:
        spool.close()


def _bytes(setting: str) -> int:
    return int(setting.removesuffix("MiB")) << 20


def _check_received(archive: Path, spool_id: bytes, received_to: int) -> None:
    """Storage was told of every sequence: by its record, or by a gap."""
    opened = open_archive(str(archive), 256 << 20)
    try:
        assert opened.received(spool_id) == ([(1, received_to)] if received_to else [])
    finally:
        opened.close()
