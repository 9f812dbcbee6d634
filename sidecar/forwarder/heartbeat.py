"""Heartbeat: how the spool stands, for storage to compare with what it has. Pure.

A pod that vanishes can't say so. What it said last can: so many records were still to be sent, the next one
would have had that sequence, and the chain ended in that hash.
"""

from collections.abc import Mapping

from infertap import v1
from sidecar.spool import SpoolAccount


def heartbeat(
    account: SpoolAccount, calls: Mapping[str, int], now_ns: int, is_leaving: bool
) -> v1.IngestRequest:
    """One heartbeat; `calls` are the terms of the account of calls, `now_ns` is since the epoch."""
    beat = v1.Heartbeat(
        next_sequence=account.next_sequence,
        last_hash=account.last_hash,
        pending=account.pending,
        dead_lettered=account.dead_lettered,
        # A relay that counts meanwhile may leave a difference below zero for a moment.
        account={name: count for name, count in calls.items() if count >= 0},
        is_leaving=is_leaving,
        quarantined=account.set_aside,
    )
    beat.time.FromNanoseconds(now_ns)
    return v1.IngestRequest(heartbeat=beat)
