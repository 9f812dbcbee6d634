"""Verification: what anyone can check of an archive without trusting it: chains, trees, signatures.

The door of the room. Formats and checks are pure; nothing here needs storage or a sidecar.
"""

from infertap.verification.checkpoints import (
    DROPPED,
    HEAD,
    Checkpoint,
    Statement,
    open_checkpoint,
    read_statement,
    sign_checkpoint,
    state,
)
from infertap.verification.entries import (
    Envelope,
    LoggedEntry,
    Tombstone,
    read_line,
    write_entry,
    write_log,
)
from infertap.verification.heads import SignedHeads, read_heads
from infertap.verification.inclusion import Inclusion, check_claim
from infertap.verification.leaves import (
    DELETION,
    GAP,
    KINDS,
    NO_HASH,
    RECORD,
    Leaf,
    LogId,
    check_leaf,
    record_hash,
)
from infertap.verification.ledger import Ledger
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
from infertap.verification.report import Finding, Report, Wrong
from infertap.verification.signed_note import (
    NoteError,
    PrivateKey,
    PublicKey,
    make_key,
    open_note,
    read_private_key,
    read_public_key,
    sign_note,
)
from infertap.verification.verifier import Verifier

__all__ = [
    "DELETION",
    "DROPPED",
    "EMPTY_ROOT",
    "GAP",
    "HEAD",
    "KINDS",
    "NO_HASH",
    "RECORD",
    "Checkpoint",
    "Envelope",
    "Finding",
    "Frontier",
    "Inclusion",
    "Leaf",
    "Ledger",
    "LogId",
    "LoggedEntry",
    "NoteError",
    "PrivateKey",
    "ProofError",
    "PublicKey",
    "Report",
    "SignedHeads",
    "Statement",
    "Tombstone",
    "Verifier",
    "Wrong",
    "check_claim",
    "check_consistency",
    "check_inclusion",
    "check_leaf",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "make_key",
    "node_hash",
    "open_checkpoint",
    "open_note",
    "read_heads",
    "read_line",
    "read_private_key",
    "read_public_key",
    "read_statement",
    "record_hash",
    "root_of",
    "sign_checkpoint",
    "sign_note",
    "state",
    "write_entry",
    "write_log",
]
