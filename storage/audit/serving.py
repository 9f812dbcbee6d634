"""Serving: AuditService. Callers of a tenant see its spools, findings, statements and logs only."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

import grpc
import grpc.aio

from infertap import v1
from infertap.identity import caller_of
from infertap.query import InvalidArgumentError, abort_invalid, read_call_id, read_page_size
from infertap.verification import (
    DELETION,
    HEAD,
    LoggedEntry,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    read_statement,
)
from storage.audit.auditing import Auditing
from storage.audit.exporting import batches_of
from storage.audit.interface import Place
from storage.audit.messages import entry_message, log_message
from storage.audit.spools import is_wrong

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")

_STATEMENTS: Final = 1000
_MOST_SPOOLS: Final = 5000
_DAY_LETTERS: Final = 10


class Audit(v1.AuditServiceServicer):
    """Serves what the audit knows."""

    def __init__(self, auditing: Auditing, unavailable: type[Exception]) -> None:
        """`unavailable` is what the archive raises."""
        self._auditing = auditing
        self._unavailable = unavailable

    async def ListSpools(  # noqa: N802
        self, request: v1.ListSpoolsRequest, context: Context
    ) -> v1.ListSpoolsResponse:
        """See the contract."""
        tenant = caller_of(context).tenant
        spools = await self._do(context, lambda: self._auditing.spools.listed(tenant, time.time_ns()))
        if request.only_wrong:
            spools = [each for each in spools if is_wrong(each)]
        return v1.ListSpoolsResponse(spools=spools[:_MOST_SPOOLS], total=len(spools))

    async def ListFindings(  # noqa: N802
        self, request: v1.ListFindingsRequest, context: Context
    ) -> v1.ListFindingsResponse:
        """See the contract."""
        tenant = caller_of(context).tenant
        try:
            size, below = read_page_size(request.page_size), _read_token(request.page_token)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        found, after = await self._do(
            context, lambda: self._auditing.findings.page(tenant, request.spool_id, below, size)
        )
        return v1.ListFindingsResponse(findings=found, next_page_token=after.hex())

    async def MakeCheckpoint(  # noqa: N802
        self, _: v1.MakeCheckpointRequest, context: Context
    ) -> v1.Checkpoint:
        """See the contract."""
        checkpointing = self._auditing.checkpointing
        if not checkpointing.can_sign:
            await _refuse(context, checkpointing.refusal)
        made = await self._do(context, self._auditing.sign)
        if made is None:
            await _refuse(
                context, "there is nothing to sign yet, or another storage process is the one that signs"
            )
        return made

    async def GetCheckpoint(  # noqa: N802
        self, request: v1.GetCheckpointRequest, context: Context
    ) -> v1.Checkpoint:
        """See the contract."""
        checkpointing = self._auditing.checkpointing
        found = await self._do(
            context, lambda: checkpointing.get(request.size) if request.size else checkpointing.latest()
        )
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such checkpoint")
            raise AssertionError("abort returns never")
        return found

    async def ListCheckpoints(  # noqa: N802
        self, request: v1.ListCheckpointsRequest, context: Context
    ) -> v1.ListCheckpointsResponse:
        """See the contract."""
        try:
            size = read_page_size(request.page_size)
            below = int.from_bytes(_read_token(request.page_token, (0, 8)), "big")
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        found = await self._do(context, lambda: self._auditing.checkpointing.list_below(below, size))
        token = found[-1].size.to_bytes(8, "big").hex() if len(found) == size else ""
        return v1.ListCheckpointsResponse(checkpoints=found, next_page_token=token)

    async def ListStatements(  # noqa: N802
        self, request: v1.ListStatementsRequest, context: Context
    ) -> v1.ListStatementsResponse:
        """See the contract."""
        tenant = caller_of(context).tenant
        most = min(request.page_size or _STATEMENTS, _STATEMENTS) if request.page_size >= 0 else 1
        found = await self._do(context, lambda: self._auditing.checkpointing.statements(request.first, most))
        return v1.ListStatementsResponse(statements=[_statement(data, tenant) for data in found])

    async def GetConsistencyProof(  # noqa: N802
        self, request: v1.GetConsistencyProofRequest, context: Context
    ) -> v1.ConsistencyProof:
        """See the contract."""
        checkpointing = self._auditing.checkpointing
        latest = await self._do(context, checkpointing.latest)
        new = request.new_size or (latest.size if latest else 0)
        if not 0 < request.old_size <= new or latest is None or new > latest.size:
            await abort_invalid(
                context, InvalidArgumentError("old_size", "expected 1 up to what the latest checkpoint signs")
            )
        path = consistency_proof(request.old_size, new, checkpointing.subtree)
        return v1.ConsistencyProof(old_size=request.old_size, new_size=new, path=path)

    async def GetInclusionProof(  # noqa: N802
        self, request: v1.GetInclusionProofRequest, context: Context
    ) -> v1.InclusionProof:
        """See the contract."""
        tenant = caller_of(context).tenant
        try:
            call_id = str(uuid.UUID(bytes=read_call_id(request.call_id))) if request.call_id else ""
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        place = await self._do(context, lambda: self._place(call_id, request.id, tenant))
        if place is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no leaf tells of such an entry")
            raise AssertionError("abort returns never")
        proof = await self._do(context, lambda: self._prove(place))
        if proof is None:
            await _refuse(context, "not signed yet: a checkpoint is made regularly, and by MakeCheckpoint")
        return proof

    def _place(self, call_id: str, entry: v1.EntryId, tenant: str | None) -> Place | None:
        """Where the leaf of an entry stands that the caller may see."""
        archive = self._auditing.archive
        if call_id:
            sequences = [each for each in archive.sequences_of(call_id) if tenant in (None, each[0])]
            if not sequences:
                return None
            entry = v1.EntryId(spool_id=sequences[0][1], sequence=sequences[0][2])
        places = archive.places(entry.spool_id, entry.sequence)
        allowed = [
            each for each in places if tenant in (None, each.log.tenant) and each.leaf.kind != DELETION
        ]
        return min(allowed, key=lambda each: each.leaf.kind, default=None)

    def _prove(self, place: Place) -> v1.InclusionProof | None:
        """The steps from the leaf to the signature; None where it is not signed yet."""
        checkpointing = self._auditing.checkpointing
        stated, latest = checkpointing.stated(place.log), checkpointing.latest()
        if stated is None or latest is None or stated.index >= latest.size:
            return None
        if stated.statement.kind != HEAD or stated.statement.size <= place.index:
            return None
        path = self._auditing.proofs.inclusion(place, stated.statement.size)
        if path is None:
            return None
        data = stated.statement.data
        return v1.InclusionProof(
            entry=entry_message(self._entry(place)),
            log=log_message(place.log),
            path=path,
            statement=v1.Statement(data=data, hash=leaf_hash(data)),
            statement_index=stated.index,
            statement_path=inclusion_proof(stated.index, latest.size, checkpointing.subtree),
            checkpoint=latest,
        )

    def _entry(self, place: Place) -> LoggedEntry:
        """The entry with its record, as the archive has it."""
        for log in self._auditing.archive.logs():
            if log.log == place.log:
                return self._auditing.archive.entries(log, place.index, 1)[0]
        return LoggedEntry(place.index, place.leaf)

    async def ExportLog(  # noqa: N802
        self, request: v1.ExportLogRequest, context: Context
    ) -> AsyncIterator[v1.ExportLogResponse]:
        """See the contract."""
        tenant = caller_of(context).tenant
        batches = batches_of(self._auditing.archive, tenant, request.first_day, request.last_day)
        while (batch := await self._do(context, lambda: next(batches, None))) is not None:
            yield batch

    async def _do(self, context: Context, act: Callable[[], T]) -> T:
        """What `act`, which may block, gives."""
        try:
            return await asyncio.to_thread(act)
        except self._unavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
            raise


async def _refuse(context: Context, why: str) -> NoReturn:
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, why)
    raise AssertionError("abort returns never")


def _statement(data: bytes, tenant: str | None) -> v1.Statement:
    """A statement as that tenant may see it."""
    is_theirs = tenant is None or _tenant_of(data) == tenant
    return v1.Statement(data=data if is_theirs else b"", hash=leaf_hash(data))


def _tenant_of(data: bytes) -> str | None:
    try:
        return read_statement(data).log.tenant
    except ValueError:  # somebody else's writing
        return None


def _read_token(token: str, lengths: tuple[int, ...] = (0, 8, 16)) -> bytes:
    """A key to go on below, of one of these lengths; raises InvalidArgumentError."""
    try:
        key = bytes.fromhex(token)
    except ValueError:
        raise InvalidArgumentError("page_token", "not a token of this service") from None
    if len(key) not in lengths:
        raise InvalidArgumentError("page_token", "not a token of this service")
    return key
