"""Admin: AdminService: deletes on request, backs up, tells what the archive takes, looks after sinks.

It promises: a deletion that its caller gives up ends after the step under way; a raw user id is hashed at
once, and neither logged nor told in an error.
"""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

import grpc
import grpc.aio

import infertap
from infertap import v1
from infertap.query import InvalidArgumentError, Query, abort_invalid, read_page_size
from storage.archive import BY_REQUEST, FILE_VERSION, Archive, ArchiveError, Arrival, Interrupt
from storage.event_log import log_event
from storage.identity import caller_of
from storage.ingest import Forgetting
from storage.numbers import Numbers
from storage.redaction import TextRedaction
from storage.sinks import Sinks, UnknownSinkError
from storage.upkeep.backup import read_files

_LONGEST_USER: Final = 4096
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
R = TypeVar("R")


class Admin(v1.AdminServiceServicer):
    """Serves the contract's AdminService."""

    def __init__(
        self,
        archive: Archive,
        forgetting: Forgetting,
        numbers: Numbers,
        redaction: TextRedaction | None,
        limit_bytes: int | None,
        *,
        sinks: Sinks,
    ) -> None:
        """`limit_bytes`: what the archive is kept under on disk."""
        self._archive = archive
        self._forgetting = forgetting
        self._numbers = numbers
        self._redaction = redaction
        self._limit_bytes = limit_bytes
        self._sinks = sinks

    async def DeleteRecords(  # noqa: N802
        self, request: v1.DeleteRecordsRequest, context: Context
    ) -> v1.DeleteRecordsResponse:
        """See the contract."""
        try:
            query, user = self._asked(request)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        query = dataclasses.replace(query, tenant=caller_of(context).tenant)
        if request.dry_run:
            matched = await _while_asked(context, lambda interrupt: self._archive.matched(query, interrupt))
            return v1.DeleteRecordsResponse(
                records=matched.records,
                feedback=matched.feedback,
                record_bytes=matched.record_bytes,
                user=user,
            )
        now_ns = time.time_ns()
        deletion = await _while_asked(
            context, lambda interrupt: self._archive.delete(query, BY_REQUEST, now_ns, interrupt)
        )
        await self._forgetting.tell(deletion.spools)
        self._numbers.deleted.inc(deletion.records)
        log_event("records deleted", records=deletion.records, feedback=deletion.feedback, by=_who(context))
        return v1.DeleteRecordsResponse(records=deletion.records, feedback=deletion.feedback, user=user)

    def _asked(self, request: v1.DeleteRecordsRequest) -> tuple[Query, str]:
        """What is to be deleted, and the user as recorded where a raw one was given."""
        query, user = Query.of(request.filter), ""
        if request.raw_user:
            if query.user:
                raise InvalidArgumentError("raw_user", "the filter says a user already")
            user = self._hashed(request.raw_user)
            query = dataclasses.replace(query, user=user)
        if query.leaves_out_nothing(time.time_ns()):
            raise InvalidArgumentError(
                "filter", "leaves out nothing, so nothing is deleted; everything until now is --until 0s"
            )
        return query, user

    def _hashed(self, raw_user: str) -> str:
        if len(raw_user) > _LONGEST_USER:
            raise InvalidArgumentError("raw_user", f"longer than {_LONGEST_USER} characters")
        hashed = self._redaction.keyed_hash(raw_user) if self._redaction else ""
        if not hashed:
            raise InvalidArgumentError("raw_user", "storage has no hash key (INFERTAP_HASH_KEY_FILE)")
        return hashed

    async def BackupArchive(  # noqa: N802
        self,
        request: v1.BackupArchiveRequest,  # noqa: ARG002
        context: Context,
    ) -> AsyncIterator[v1.BackupArchiveResponse]:
        """See the contract."""
        await _demand_all(context)
        contents = v1.BackupContents(schema_version=FILE_VERSION, infertap_version=infertap.__version__)
        contents.time.GetCurrentTime()
        snapshot = self._archive.snapshot()
        try:
            files = await asyncio.to_thread(snapshot.__enter__)
        except ArchiveError as error:
            await _unavailable(context, error)
        try:
            for each in files:
                contents.files.add(name=each.name, size_bytes=each.size_bytes)
            yield v1.BackupArchiveResponse(contents=contents)
            async for chunk in read_files(files):
                yield v1.BackupArchiveResponse(chunk=chunk)
        finally:
            await asyncio.shield(asyncio.to_thread(snapshot.__exit__, None, None, None))
        log_event("archive backed up", files=len(files), by=_who(context))

    async def GetArchive(  # noqa: N802
        self,
        request: v1.GetArchiveRequest,  # noqa: ARG002
        context: Context,
    ) -> v1.Archive:
        """See the contract."""
        await _demand_all(context)
        usage = await _while_asked(context, lambda _: self._archive.usage())
        answer = v1.Archive(
            disk_bytes=usage.disk_bytes, limit_bytes=self._limit_bytes or 0, files=usage.files
        )
        for each in await _while_asked(context, lambda _: self._archive.damages()):
            damaged = answer.damaged.add(name=each.name, kept_as=each.kept_as, why=each.why)
            damaged.found_at.FromNanoseconds(each.found_ns)
        return answer

    # -- sinks

    async def ListSinks(  # noqa: N802
        self,
        request: v1.ListSinksRequest,  # noqa: ARG002
        context: Context,
    ) -> v1.ListSinksResponse:
        """See the contract."""
        await _demand_all(context)
        return v1.ListSinksResponse(sinks=await _while_asked(context, lambda _: self._sinks.stands()))

    async def ListRefusedRecords(  # noqa: N802
        self, request: v1.ListRefusedRecordsRequest, context: Context
    ) -> v1.ListRefusedRecordsResponse:
        """See the contract."""
        await _demand_all(context)
        try:
            size, after = read_page_size(request.page_size), _arrival(request.page_token)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        found = await self._of_sink(context, lambda: self._sinks.refused(request.sink, after, size + 1))
        answer = v1.ListRefusedRecordsResponse()
        for each in found[:size]:
            told = answer.records.add(id=each.record_id, call_id=each.call_id, reason=each.reason)
            told.refused_at.FromNanoseconds(each.refused_ns)
        if len(found) > size:
            answer.next_page_token = found[size - 1].arrival.pack().hex()
        return answer

    async def ResendRefusedRecords(  # noqa: N802
        self, request: v1.ResendRefusedRecordsRequest, context: Context
    ) -> v1.ResendRefusedRecordsResponse:
        """See the contract."""
        await _demand_all(context)
        records = await self._of_sink(context, lambda: self._sinks.resend(request.sink))
        self._sinks.wake(request.sink)
        log_event("refused records sent again", sink=request.sink, records=records, by=_who(context))
        return v1.ResendRefusedRecordsResponse(records=records)

    async def DropRefusedRecords(  # noqa: N802
        self, request: v1.DropRefusedRecordsRequest, context: Context
    ) -> v1.DropRefusedRecordsResponse:
        """See the contract."""
        await _demand_all(context)
        records = await self._of_sink(context, lambda: self._sinks.drop(request.sink))
        log_event("refused records dropped", sink=request.sink, records=records, by=_who(context))
        return v1.DropRefusedRecordsResponse(records=records)

    async def _of_sink(self, context: Context, act: Callable[[], R]) -> R:
        try:
            return await _while_asked(context, lambda _: act())
        except UnknownSinkError:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no sink of that name is configured")
            raise AssertionError("abort returns never") from None


def _arrival(page_token: str) -> Arrival | None:
    """Where a page goes on. Raises InvalidArgumentError."""
    try:
        return Arrival.unpack(bytes.fromhex(page_token)) if page_token else None
    except ValueError:
        raise InvalidArgumentError("page_token", "not a token of this service") from None


async def _while_asked(context: Context, act: Callable[[Interrupt], R]) -> R:
    """What `act` gives, in a thread; told to end when the call is given up."""
    interrupt = Interrupt()
    try:
        return await asyncio.to_thread(act, interrupt)
    except ArchiveError as error:
        await _unavailable(context, error)
    except asyncio.CancelledError:
        interrupt.set()
        raise


async def _demand_all(context: Context) -> None:
    """What concerns the whole archive is for whoever may see all of it."""
    if caller_of(context).tenant is not None:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "only for callers that see all tenants")


async def _unavailable(context: Context, error: ArchiveError) -> NoReturn:
    await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
    raise AssertionError("abort returns never")


def _who(context: Context) -> str:
    return caller_of(context).name
