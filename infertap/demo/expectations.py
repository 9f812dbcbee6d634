"""Expectations: what the demo's records must show, or the demo fails. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from infertap import v1
from infertap.demo.traffic import PERSONAL, SECRET

Claim = tuple[str, Callable[[Sequence[v1.Record]], bool]]


def _any(claim: Callable[[v1.Record], bool]) -> Callable[[Sequence[v1.Record]], bool]:
    return lambda records: any(claim(record) for record in records)


_CLAIMS: Final[tuple[Claim, ...]] = (
    ("a good call over REST", _any(lambda r: r.protocol == v1.HTTP1 and r.state == v1.COMPLETED)),
    ("a good call over gRPC", _any(lambda r: r.protocol == v1.GRPC and r.grpc_status == 0)),
    ("a client's error over REST", _any(lambda r: r.http_status == 400)),
    ("a client's error over gRPC", _any(lambda r: r.protocol == v1.GRPC and r.grpc_status == 3)),
    ("a crash with its traceback", _any(lambda r: r.http_status == 500 and b"Traceback" in r.response.data)),
    ("a slow call", _any(lambda r: r.timing.duration_us > 1_000_000)),
    ("a stream, put together", _any(lambda r: r.response.piece_count > 5 and bool(r.response.decoded_json))),
    ("a stream that was broken off", _any(lambda r: r.state == v1.CANCELLED)),
    (
        "redacted personal data",
        _any(lambda r: len(r.request.redactions) > 0 and b"<email>" in r.request.data),
    ),
    ("tensors", _any(lambda r: len(r.model.inputs) == 1 and list(r.model.inputs[0].shape) == [1, 4])),
)


def faults(records: Sequence[v1.Record], calls: int, account: Mapping[str, Any]) -> list[str]:
    """What is not as it must be, in words; nothing where all is well."""
    found = [f"no record shows {name}" for name, holds in _CLAIMS if not holds(records)]
    if len(records) != calls:
        found.append(f"{calls} calls were made, and {len(records)} are in storage")
    for record in records:
        encoded = record.SerializeToString()
        if any(value.encode() in encoded for value in (*PERSONAL, SECRET)):
            found.append(f"the record of call {record.call_id} holds personal data or a key")
    if not account.get("balanced"):
        found.append("the account does not balance")
    return found
