"""Audit: fetches from storage what is verified, and how spools stand. Touches its one channel.

    with AuditClient(Connection("127.0.0.1:9903")) as audit:
        for spool in audit.spools().spools:
            print(spool.pod, spool.missing)

What comes is in the words of `infertap.verification`, and no more to be trusted than storage is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

import grpc

from infertap import v1
from infertap.connection import AccessError, Connection
from infertap.verification import (
    Envelope,
    Leaf,
    LoggedEntry,
    LogId,
    Tombstone,
    check_leaf,
)

_SECONDS: Final = 60.0
_PAGE: Final = 1000
_OPTIONS: Final = (("grpc.max_receive_message_length", 32 << 20),)


class AuditError(Exception):
    """Storage can't be asked, or refuses; the message says why."""


class AuditClient:
    """One storage's AuditService. A context manager."""

    def __init__(self, connection: Connection) -> None:
        """Connects when it is first asked. Raises AuditError."""
        self._connection = connection
        with _translated(connection.target):
            self._channel = connection.channel(_OPTIONS)
        self._stub = v1.AuditServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def spools(self, only_wrong: bool = False) -> v1.ListSpoolsResponse:
        """How every spool stood when it was last heard of; those with something wrong first."""
        with self._asking() as metadata:
            request = v1.ListSpoolsRequest(only_wrong=only_wrong)
            return self._stub.ListSpools(request, timeout=_SECONDS, metadata=metadata)

    def findings(self) -> Iterator[v1.Finding]:
        """What was wrong as it came in, latest first."""
        request = v1.ListFindingsRequest(page_size=_PAGE)
        while True:
            with self._asking() as metadata:
                answer = self._stub.ListFindings(request, timeout=_SECONDS, metadata=metadata)
            yield from answer.findings
            request.page_token = answer.next_page_token
            if not request.page_token:
                return

    def checkpoint(self) -> v1.Checkpoint | None:
        """The latest checkpoint; None where nothing is signed."""
        request = v1.ListCheckpointsRequest(page_size=1)
        with self._asking() as metadata:
            found = self._stub.ListCheckpoints(request, timeout=_SECONDS, metadata=metadata).checkpoints
        return found[0] if found else None

    def make_checkpoint(self) -> v1.Checkpoint:
        """A checkpoint over all that is there now."""
        with self._asking() as metadata:
            return self._stub.MakeCheckpoint(v1.MakeCheckpointRequest(), timeout=_SECONDS, metadata=metadata)

    def statements(self) -> Iterator[bytes]:
        """The log of heads: each statement as it is hashed, or its hash where it is another tenant's."""
        first = 0
        while True:
            with self._asking() as metadata:
                request = v1.ListStatementsRequest(first=first, page_size=_PAGE)
                answer = self._stub.ListStatements(request, timeout=_SECONDS, metadata=metadata)
            yield from (each.data or each.hash for each in answer.statements)
            first += len(answer.statements)
            if not answer.statements:
                return

    def entries(self, first_day: str = "", last_day: str = "") -> Iterator[LogId | LoggedEntry]:
        """Each log and its entries, in order; then those without a leaf, in a log without a name."""
        with self._asking() as metadata:
            request = v1.ExportLogRequest(first_day=first_day, last_day=last_day)
            for answer in self._stub.ExportLog(request, metadata=metadata):
                if answer.HasField("log"):
                    yield LogId(answer.log.tenant, answer.log.day, answer.log.log)
                yield from map(entry_of, answer.entries)

    def inclusion_proof(self, call_id: str) -> v1.InclusionProof:
        """That the record of a call is in what was signed last."""
        with self._asking() as metadata:
            request = v1.GetInclusionProofRequest(call_id=call_id)
            return self._stub.GetInclusionProof(request, timeout=_SECONDS, metadata=metadata)

    @contextmanager
    def _asking(self) -> Iterator[tuple[tuple[str, str], ...]]:
        with _translated(self._connection.target):
            yield self._connection.metadata()


def entry_of(message: v1.LogEntry) -> LoggedEntry:
    """The entry that a message says; of a record that no leaf tells of, the stated hash is the row's own.

    Raises ValueError for what no storage sends.
    """
    found: Envelope | Tombstone | None = None
    if message.HasField("envelope"):
        sealed = message.envelope
        found = Envelope(sealed.previous_hash, sealed.salt, sealed.record)
    elif message.HasField("tombstone"):
        stone = message.tombstone
        found = Tombstone(stone.previous_hash, stone.reason, stone.deleted_at.ToNanoseconds())
    leaf = Leaf(message.kind, message.spool_id, message.first, message.last, message.hash, message.reason)
    index = message.index if message.HasField("index") else None
    return LoggedEntry(index, check_leaf(leaf), found, message.stored_at.ToNanoseconds())


@contextmanager
def _translated(address: str) -> Iterator[None]:
    try:
        yield
    except AccessError as error:
        raise AuditError(str(error)) from None
    except ValueError:
        raise AuditError(f"{address}: answers what no storage would") from None
    except grpc.RpcError as error:
        details = error.details() or ""
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            details = "keeps no audit; storage does (port 9903)"
        raise AuditError(f"{address}: {error.code().name}: {details}") from None
