"""AsyncClient: as `Client`, for asyncio.

    async with AsyncClient("storage:9903") as client:
        async for record in client.list(model="iris", states=["FAILED"], limit=20):
            print(record.path, record.http_status)

Arguments, answers and errors are those of `Client`, whose docstrings say them. Touches one gRPC channel, made
when it is first needed, in the loop that is running then, and the files of TLS and token that it is told of.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from datetime import timedelta
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio

from infertap import v1
from infertap.client.errors import translated, translating
from infertap.client.patience import Patience, Trying
from infertap.client.reaching import ATTEMPTS, DEADLINE_SECONDS, EXPORT_SECONDS, OPTIONS, connection_of
from infertap.client.requests import (
    Paging,
    attach_request,
    export_request,
    feedback_of,
    get_request,
    list_request,
    stats_request,
    tail_request,
)
from infertap.client.tables import Gathering

if TYPE_CHECKING:
    import pandas
    import pyarrow


class AsyncClient:
    """One connection to where records are served, for the tasks of one loop. All methods raise ClientError.

    >>> async def latest():
    ...     async with AsyncClient(address) as client:
    ...         return [record.model.name async for record in client.list(limit=2)]
    >>> asyncio.run(latest())
    ['iris', 'iris']
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        attempts: int = ATTEMPTS,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        server_name: str | None = None,
        token: str | None = None,
        token_file: str | None = None,
    ) -> None:
        """As `Client`; raises ClientError."""
        self._patience = Patience(attempts, deadline_seconds)
        self.address, self._connection = connection_of(
            address,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            server_name=server_name,
            token=token,
            token_file=token_file,
        )

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        with translating(self.address):
            return self._connection.aio_channel(OPTIONS)

    @cached_property
    def _records(self) -> Any:
        return v1.RecordServiceStub(self._channel)

    @cached_property
    def _feedback(self) -> Any:
        return v1.FeedbackServiceStub(self._channel)

    async def get(self, call_id: str, *, fields: Iterable[str] = ()) -> v1.Record:
        """As `Client.get`."""
        record: v1.Record = await self._ask(self._records.GetRecord, get_request(call_id, fields))
        return record

    async def list(
        self,
        filter: v1.RecordFilter | None = None,
        *,
        limit: int | None = None,
        fields: Iterable[str] = (),
        order_by: str = "",
        **conditions: Any,
    ) -> AsyncIterator[v1.Record]:
        """As `Client.list`."""
        paging = Paging(list_request(filter, conditions, fields, order_by), limit)
        while paging.is_open:
            page = await self._ask(self._records.ListRecords, paging.request)
            paging.turn(page.next_page_token, len(page.records))
            for record in page.records:
                yield record

    async def tail(
        self,
        filter: v1.RecordFilter | None = None,
        *,
        backlog: int = 0,
        fields: Iterable[str] = (),
        **conditions: Any,
    ) -> AsyncGenerator[v1.Record, None]:
        """As `Client.tail`."""
        request = tail_request(filter, conditions, fields, backlog)
        trying = self._trying()
        while True:
            has_begun = False
            call = self._open(self._records.TailRecords, request, None)
            try:
                async for record in call:
                    has_begun = True
                    yield record
            except grpc.RpcError as error:
                await self._wait(error, None if has_begun else trying)
            else:
                return
            finally:
                call.cancel()

    async def export(
        self,
        filter: v1.RecordFilter | None = None,
        *,
        resume_token: str = "",
        fields: Iterable[str] = (),
        **conditions: Any,
    ) -> AsyncGenerator[v1.ExportRecordsResponse, None]:
        """As `Client.export`."""
        request = export_request(filter, conditions, fields, resume_token)
        trying = self._trying(is_export=True)
        while True:
            call = self._open(self._records.ExportRecords, request, EXPORT_SECONDS)
            has_come = False
            try:
                async for batch in call:
                    has_come = True
                    trying.progressed(time.monotonic())
                    request.resume_token = batch.resume_token or request.resume_token
                    yield batch
            except grpc.RpcError as error:
                # The stream's own time is up: not a failure where it brought something.
                if not (has_come and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED):
                    await self._wait(error, trying)
            else:
                return
            finally:
                call.cancel()

    async def to_arrow(
        self,
        filter: v1.RecordFilter | None = None,
        *,
        columns: Iterable[str] = (),
        limit: int | None = None,
        **conditions: Any,
    ) -> "pyarrow.Table":
        """As `Client.to_arrow`."""
        gathering = Gathering(columns, limit)
        async for batch in self.export(filter, fields=gathering.fields, **conditions):
            if gathering.add(batch.records):
                break
        return gathering.table()

    async def to_pandas(
        self,
        filter: v1.RecordFilter | None = None,
        *,
        columns: Iterable[str] = (),
        limit: int | None = None,
        **conditions: Any,
    ) -> "pandas.DataFrame":
        """As `Client.to_pandas`."""
        gathering = Gathering(columns, limit, is_for_pandas=True)
        async for batch in self.export(filter, fields=gathering.fields, **conditions):
            if gathering.add(batch.records):
                break
        return gathering.frame()

    async def stats(
        self,
        filter: v1.RecordFilter | None = None,
        *,
        by: Iterable[str] = (),
        bucket: timedelta | None = None,
        **conditions: Any,
    ) -> v1.GetStatsResponse:
        """As `Client.stats`."""
        figures: v1.GetStatsResponse = await self._ask(
            self._records.GetStats, stats_request(filter, conditions, by, bucket)
        )
        return figures

    async def feedback(self, **said: Any) -> v1.AttachedFeedback:
        """As `Client.feedback`."""
        return next(iter(await self.attach_feedback([feedback_of(said)])))

    async def attach_feedback(self, given: Iterable[v1.Feedback]) -> Sequence[v1.AttachedFeedback]:
        """As `Client.attach_feedback`."""
        return tuple((await self._ask(self._feedback.AttachFeedback, attach_request(given))).attached)

    async def list_feedback(
        self, *, call_id: str = "", request_id: str = "", limit: int | None = None
    ) -> AsyncIterator[v1.Feedback]:
        """As `Client.list_feedback`."""
        paging = Paging(v1.ListFeedbackRequest(call_id=call_id, request_id=request_id), limit)
        while paging.is_open:
            page = await self._ask(self._feedback.ListFeedback, paging.request)
            paging.turn(page.next_page_token, len(page.feedback))
            for each in page.feedback:
                yield each

    def _trying(self, *, is_export: bool = False) -> Trying:
        return self._patience.begin(time.monotonic(), is_export=is_export)

    async def _ask(self, method: Any, request: Any) -> Any:
        """The answer, asked for again where nobody is there."""
        trying = self._trying()
        while True:
            try:
                return await self._open(method, request, trying.left(time.monotonic()))
            except grpc.RpcError as error:
                await self._wait(error, trying)

    def _open(self, method: Any, request: Any, seconds: float | None) -> Any:
        """The call; raises ClientError."""
        with translating(self.address):
            metadata = self._connection.metadata()
        return method(request, timeout=seconds, metadata=metadata)

    async def _wait(self, error: grpc.RpcError, trying: Trying | None) -> None:
        """Return when it is time to ask again; raises ClientError where it is not."""
        pause = None if trying is None else trying.pause(error.code(), time.monotonic())
        if pause is None:
            raise translated(error, self.address) from None
        await asyncio.sleep(pause)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if "_channel" in vars(self):
            await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
