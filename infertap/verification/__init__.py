"""Verification: what anyone can check of an archive without trusting it: chains, trees, signatures.

The door of the room. Formats and checks are pure; nothing here needs storage or a sidecar.
"""

from infertap.verification.leaves import (
    DELETION,
    GAP,
    KINDS,
    NO_HASH,
    RECORD,
    Leaf,
    LogId,
    record_hash,
)
from infertap.verification.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
)

__all__ = [
    "DELETION",
    "EMPTY_ROOT",
    "GAP",
    "KINDS",
    "NO_HASH",
    "RECORD",
    "Frontier",
    "Leaf",
    "LogId",
    "ProofError",
    "check_consistency",
    "check_inclusion",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "node_hash",
    "record_hash",
    "root_of",
]
