"""Sample hash: where a call lies between all that is kept and nothing. Pure.

A function of the trace id (of the request id, where there is no valid `traceparent`), so that every sidecar
that a request passes, and every process in it, decides alike.
"""

from hashlib import blake2b
from typing import Final

from sidecar.traceparent import read_traceparent

# How many values the hash can have.
HASHES: Final = 1 << 64


def sample_hash(traceparent: bytes, request_id: bytes) -> int:
    """From 0 up to HASHES: a call is kept where this is below its rate times HASHES."""
    trace_id = read_traceparent(traceparent)[0] if traceparent else b""
    return int.from_bytes(blake2b(trace_id or request_id, digest_size=8).digest(), "big")
