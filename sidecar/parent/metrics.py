"""Metrics: the counters page as Prometheus text. Pure: values in, text out.

Every counter of the page appears, with what it means; a test holds the meanings against the page. Reasons of
one kind of loss share a metric and are told apart by the label `reason`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.account import Account

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# Counter of the page: kind and meaning. Names that share a prefix in _REASONS become one metric.
RELAY_MEANINGS: Final[Mapping[str, tuple[str, str]]] = {
    "seen": ("counter", "Calls that began."),
    "open": ("gauge", "Calls that have not ended."),
    "skipped": ("counter", "Calls on paths that are never recorded."),
    "opaque": ("counter", "Stretches of traffic relayed without following or recording it."),
    "not_sampled": ("counter", "Calls that sampling did not keep."),
    "shed_handoff_full": ("counter", "Kept calls given up in the relay."),
    "shed_recorder_off": ("counter", "Kept calls given up in the relay."),
    "shed_tap_fault": ("counter", "Kept calls given up in the relay."),
    "shed_open_streams": ("counter", "Kept calls given up in the relay."),
    "shed_relay_lost": ("counter", "Kept calls given up in the relay."),
    "handed_over": ("counter", "Calls handed over to the recorder."),
    "connections": ("counter", "Client connections accepted."),
    "connections_open": ("gauge", "Client connections open."),
    "upstream_refused": ("counter", "Client connections reset because the model could not be reached."),
    "tls_handshakes_failed": ("counter", "Clients whose TLS handshake failed or timed out."),
    "opaque_connections": ("counter", "Connections of an unknown or upgraded protocol, recorded as one."),
    "framing_ambiguous": ("counter", "Connections whose framing two readers could read differently."),
    "heads_too_large": ("counter", "Connections no longer followed since a head was too large."),
    "too_many_unanswered": ("counter", "HTTP/1 connections no longer followed, for unanswered requests."),
    "tap_faults": ("counter", "Connections whose recording ended by a fault of the tap."),
    "id_not_added": ("counter", "Messages that lacked a request id and could not be given one."),
    "bodies_cut": ("counter", "Bodies captured only in part."),
    "segments": ("counter", "Segments beyond the first of calls that last."),
    "bytes_from_client": ("counter", "Bytes received from clients."),
    "bytes_from_model": ("counter", "Bytes received from the model."),
    "accepting": ("gauge", "1 where the relay accepts connections."),
    "connections_refused": ("counter", "Connections closed since the settings refuse what they held."),
    "budget_exceeded": (
        "counter",
        "Connections no longer followed since their frames or headers are a flood.",
    ),
    "head_too_slow": ("counter", "Connections no longer followed since a head came too slowly."),
    "state_budget_spent": ("counter", "Connections no longer followed since all of them held too much."),
    "accepting_paused": ("counter", "Times that accepting paused for too many clients, or no descriptors."),
    "handshakes_dropped": ("counter", "Clients reset in their TLS handshake, to make room for others."),
    "not_redirected": ("counter", "Clients reset in redirect mode that came to the sidecar's own address."),
    "model_wait_ns": ("counter", "Nanoseconds that clients waited for their connection to the model."),
    "state_bytes": ("gauge", "Bytes kept of unfinished heads and header tables, at the latest look."),
    "loop_lag_ns": ("gauge", "Nanoseconds that the relay's loop was late at the latest look."),
    "loop_lag_max_ns": ("gauge", "The most that it was ever late, in nanoseconds."),
}

RECORDER_MEANINGS: Final[Mapping[str, tuple[str, str]]] = {
    "not_sampled_by_rule": ("counter", "Calls that a rule on what their payloads say did not keep."),
    "dropped_record_too_large": ("counter", "Calls the recorder took and could not store."),
    "dropped_spool_failed": ("counter", "Calls the recorder took and could not store."),
    "dropped_recorder_fault": ("counter", "Calls the recorder took and could not store."),
    "lost_crash": ("counter", "Calls handed over that a killed process took with it."),
    "appended": ("counter", "Records committed to the spool in this run."),
    "earlier_appended": ("gauge", "Records committed to the spool by earlier runs."),
    "earlier_seen": ("gauge", "Calls seen by earlier runs."),
    "earlier_not_recorded": ("gauge", "Calls that earlier runs skipped, did not sample or could not follow."),
    "earlier_shed": ("gauge", "Calls that earlier runs shed, or lost with a killed relay."),
    "earlier_dropped": ("gauge", "Calls that earlier runs' recorders dropped."),
    "earlier_lost_crash": ("gauge", "Calls handed over that earlier runs lost with a killed process."),
    "pending": ("gauge", "Records in the spool that storage has not acknowledged."),
    "acked": ("gauge", "Records that storage has acknowledged, over all runs."),
    "evicted_unacked": ("gauge", "Records evicted before storage acknowledged them, over all runs."),
    "dead_lettered": ("gauge", "Records that storage refuses, over all runs."),
    "corrupt": ("gauge", "Records that failed their check when read, over all runs."),
    "expired": ("gauge", "Records that left the ring of a sidecar without storage, over all runs."),
    "spool_bytes": ("gauge", "Bytes the spool uses."),
    "spool_quota_bytes": ("gauge", "Bytes the spool may use."),
    "next_sequence": ("gauge", "Sequence of the next record."),
    "redactions": ("counter", "Values masked, hashed or dropped."),
    "bodies_withheld": ("counter", "Bodies withheld from records because they could not be read."),
    "storage_connected": ("gauge", "1 where the stream to storage is up."),
    "storage_batches_sent": ("counter", "Batches sent to storage."),
    "storage_reconnects": ("counter", "Times the stream to storage was opened again."),
    "in_flight": ("gauge", "Calls in flight that the recorder was told of."),
    "in_flight_dropped": ("counter", "Calls in flight that the recorder's table had no room for."),
    "started_monotonic_ns": ("gauge", "Monotonic time at which the recorder started."),
    "heartbeat_monotonic_ns": ("gauge", "Monotonic time of the recorder's latest sign of life."),
}

_REASONS: Final = ("shed_", "dropped_")


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the parent knows of its children beside the page."""

    relays_up: Sequence[bool]
    recorder_up: bool
    heartbeat_age_seconds: float
    relay_restarts: int
    recorder_restarts: int
    draining: bool


def exposition(
    relays: Sequence[Mapping[str, int]], recorder: Mapping[str, int], account: Account, vitals: Vitals
) -> str:
    """The whole page of metrics."""
    labelled = [({"relay": str(slot)}, row) for slot, row in enumerate(relays)]
    lines = [
        *_counters("infertap_relay", RELAY_MEANINGS, labelled),
        *_counters("infertap_recorder", RECORDER_MEANINGS, [({}, recorder)]),
        *_account(account),
        *_vitals(vitals),
    ]
    return "\n".join(lines) + "\n"


def _counters(
    prefix: str,
    meanings: Mapping[str, tuple[str, str]],
    rows: Sequence[tuple[Mapping[str, str], Mapping[str, int]]],
) -> list[str]:
    lines: list[str] = []
    described: set[str] = set()
    for name, (kind, meaning) in meanings.items():
        metric, reason = _metric_name(prefix, name, kind)
        if metric not in described:
            described.add(metric)
            lines += _describe(metric, kind, meaning)
        lines += [_sample(metric, {**labels, **reason}, row[name]) for labels, row in rows]
    return lines


def _metric_name(prefix: str, name: str, kind: str) -> tuple[str, dict[str, str]]:
    reason: dict[str, str] = {}
    for shared in _REASONS:
        if name.startswith(shared):
            reason = {"reason": name.removeprefix(shared)}
            name = shared.rstrip("_")
    return f"{prefix}_{name}{'_total' if kind == 'counter' else ''}", reason


def _account(account: Account) -> list[str]:
    lines = [("calls", account.calls), ("hand_over", account.hand_over), ("spool", account.spool)]
    return [
        *_describe(
            "infertap_in_transit", "gauge", "Calls handed over that the recorder has not settled yet."
        ),
        _sample("infertap_in_transit", {}, account.hand_over.terms["in_transit"]),
        *_describe("infertap_account_balanced", "gauge", "1 where every call on the line is accounted for."),
        *(_sample("infertap_account_balanced", {"line": name}, line.balanced) for name, line in lines),
    ]


def _vitals(vitals: Vitals) -> list[str]:
    ups = [("relay", str(slot), up) for slot, up in enumerate(vitals.relays_up)]
    return [
        *_describe("infertap_process_up", "gauge", "1 where the process runs."),
        *(_sample("infertap_process_up", {"process": name, "slot": slot}, up) for name, slot, up in ups),
        _sample("infertap_process_up", {"process": "recorder"}, vitals.recorder_up),
        *_describe("infertap_process_restarts_total", "counter", "Times a process was started again."),
        _sample("infertap_process_restarts_total", {"process": "relay"}, vitals.relay_restarts),
        _sample("infertap_process_restarts_total", {"process": "recorder"}, vitals.recorder_restarts),
        *_describe(
            "infertap_recorder_heartbeat_age_seconds", "gauge", "Since the recorder's latest sign of life."
        ),
        _sample("infertap_recorder_heartbeat_age_seconds", {}, round(vitals.heartbeat_age_seconds, 3)),
        *_describe("infertap_draining", "gauge", "1 where the sidecar is ending."),
        _sample("infertap_draining", {}, vitals.draining),
    ]


def _describe(metric: str, kind: str, meaning: str) -> Iterable[str]:
    return (f"# HELP {metric} {meaning}", f"# TYPE {metric} {kind}")


def _sample(metric: str, labels: Mapping[str, str], value: float) -> str:
    # Label values are ours: slots, reasons and process names need no escaping.
    shown = ",".join(f'{name}="{text}"' for name, text in labels.items())
    return f"{metric}{{{shown}}} {value + 0}" if shown else f"{metric} {value + 0}"
