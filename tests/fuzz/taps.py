"""Taps, whatever they are told: law 2, law 4 and the budget after each read; and reads that are joined
tell the same calls.
"""

from collections.abc import Callable

from sidecar.exchange import EndedBy, Exchange, Protocol
from tests.fuzz.reads import Read, joined, read_reads
from tests.oracles.byte_law import assert_only_fields_added, assert_only_lines_added
from tests.oracles.http2 import PREFACE
from tests.sidecar.tap.conftest import Rig


def http1(data: bytes) -> None:
    """A connection of any bytes; what may be added are header lines."""
    _follow(data, b"", assert_only_lines_added)


def http2(data: bytes) -> None:
    """A connection that begins with the preface; what may be added are literals in header blocks."""
    _follow(data, PREFACE, assert_only_fields_added)


Check = Callable[[bytes, bytes], int]


def _follow(data: bytes, start: bytes, check: Check) -> None:
    reads = read_reads(data)
    ending = sum(data[-1:]) % 3
    once = _one_pass(start, reads, ending, check)
    assert _one_pass(start, joined(reads), ending, check) == once


def _one_pass(start: bytes, reads: list[Read], ending: int, check: Check) -> list[tuple[object, ...]]:
    """Relay the reads, check the laws; what the calls on record were."""
    rig = Rig(sample_error_max_per_second="off")
    tap = rig.tap()
    came = [start, b""]
    went = [tap.from_client(start, rig.now()) if start else b"", b""]
    for from_model, read in reads:
        take = tap.from_model if from_model else tap.from_client
        came[from_model] += read
        went[from_model] += take(read, rig.now())
        rig.check_balance()
    held = [tap.client_held, tap.model_held]
    if ending:
        went[0] += tap.client_ended(rig.now())
        went[1] += tap.model_ended(rig.now())
        held = [tap.client_held, tap.model_held]
        assert held == [b"", b""]
    for side in range(2):
        check(came[side], went[side] + held[side])
    tap.lost(EndedBy.CLIENT if ending == 1 else EndedBy.MODEL_ABORTED, rig.now())
    assert rig.row["open"] == 0
    rig.check_balance()
    return [_essence(call) for call in rig.kept]


def _essence(call: Exchange) -> tuple[object, ...]:
    """What does not depend on the reads; an opaque stretch begins where its first read does."""
    if call.protocol is Protocol.OPAQUE:
        return (call.protocol, call.ended_by, list(call.flags))
    return (
        call.protocol,
        call.method,
        call.target,
        call.status,
        call.grpc_status,
        call.request_head,
        call.response_head,
        list(call.request_headers),
        list(call.response_headers),
        list(call.request_trailers),
        list(call.response_trailers),
        b"".join(call.request.captured_pieces),
        b"".join(call.response.captured_pieces),
        call.ended_by,
        list(call.flags),
    )
