"""Client: fetches records, from storage or from a sidecar.

    from infertap import Client

    with Client("tls:storage:9903", ca_file="ca.pem", token_file="token") as client:
        for record in client.list(model="iris", states=["FAILED"], limit=20):
            print(record.timing.start.ToDatetime(), record.path, record.http_status)

Records are `infertap.v1.Record`, typed, with the comments of the contract. Touches one gRPC channel, and the
files of TLS and token that it is told of. The examples of its methods are run as tests.
"""

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc

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


class Client:
    """One connection to where records are served. Safe to use from several threads.

    What may be asked twice is asked again where nobody answers: up to `attempts` times within
    `deadline_seconds`. All methods raise ClientError.

        >>> with Client(address) as client:
        ...     [record.model.name for record in client.list(limit=2)]
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
        """`address` is host:port, or tls:host:port, of storage or of a sidecar's API; without one,
        INFERTAP_ADDRESS tells. The others are those of `infertap.connection.Connection`; without them
        INFERTAP_TLS_* and INFERTAP_TOKEN_FILE tell. Raises ClientError.
        """
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
        with translating(self.address):
            self._channel = self._connection.channel(OPTIONS)
        self._records = v1.RecordServiceStub(self._channel)
        self._feedback = v1.FeedbackServiceStub(self._channel)

    def get(self, call_id: str, *, fields: Iterable[str] = ()) -> v1.Record:
        """The record of a call, or only some of its `fields`; raises ClientError.

        >>> client.get(call_id, fields=["path"]).path
        '/v2/models/iris/infer'
        """
        record: v1.Record = self._ask(self._records.GetRecord, get_request(call_id, fields))
        return record

    def list(
        self,
        filter: v1.RecordFilter | None = None,
        *,
        limit: int | None = None,
        fields: Iterable[str] = (),
        order_by: str = "",
        **conditions: Any,
    ) -> Iterator[v1.Record]:
        """Records that match, newest first, fetched page by page as they are asked for; raises ClientError.

        `order_by`: "start_time", "duration", "input_tokens", "output_tokens" or "total_tokens", or one of
        these and " desc".

        `conditions` are the fields of `infertap.v1.RecordFilter`, times also as datetime, durations as
        timedelta, states by name. `feedback` is a FeedbackFilter, True (any) or False (none); `input_tokens`
        and the like are a CountRange, or the least and the most as two numbers, None for no bound. Calls in
        flight are listed where `states` names INFERENCING.

            >>> for record in client.list(states=["FAILED"], min_duration=timedelta(milliseconds=1)):
            ...     print(record.http_status, record.timing.duration_us)
            500 2500
        """
        paging = Paging(list_request(filter, conditions, fields, order_by), limit)
        while paging.is_open:
            page = self._ask(self._records.ListRecords, paging.request)
            paging.turn(page.next_page_token, len(page.records))
            yield from page.records

    def tail(
        self,
        filter: v1.RecordFilter | None = None,
        *,
        backlog: int = 0,
        fields: Iterable[str] = (),
        **conditions: Any,
    ) -> Generator[v1.Record, None, None]:
        """The latest `backlog` records that match, then each new one as it arrives; raises ClientError.

        Calls that last are told of while they are in flight too (state INFERENCING, without a sequence), and
        again by their records; name `states` to have only some.

            >>> latest = client.tail(backlog=1)
            >>> next(latest).model.name
            'iris'
            >>> latest.close()
        """
        request = tail_request(filter, conditions, fields, backlog)
        trying = self._trying()
        while True:
            has_begun = False
            call = self._open(self._records.TailRecords, request, None)
            try:
                for record in call:
                    has_begun = True
                    yield record
            except grpc.RpcError as error:
                self._wait(error, None if has_begun else trying)
            else:
                return
            finally:
                call.cancel()

    def export(
        self,
        filter: v1.RecordFilter | None = None,
        *,
        resume_token: str = "",
        fields: Iterable[str] = (),
        **conditions: Any,
    ) -> Generator[v1.ExportRecordsResponse, None, None]:
        """All records that match, oldest first, as they are now, in batches of some MiB; raises ClientError.

        Goes on by itself where the connection breaks. Each batch has a `resume_token` that goes on behind it,
        also from another process and a week later. `infertap.export` writes them to files.

            >>> sum(len(batch.records) for batch in client.export(model="iris"))
            3
        """
        request = export_request(filter, conditions, fields, resume_token)
        trying = self._trying(is_export=True)
        while True:
            call = self._open(self._records.ExportRecords, request, EXPORT_SECONDS)
            has_come = False
            try:
                for batch in call:
                    has_come = True
                    trying.progressed(time.monotonic())
                    request.resume_token = batch.resume_token or request.resume_token
                    yield batch
            except grpc.RpcError as error:
                # The stream's own time is up: not a failure where it brought something.
                if not (has_come and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED):
                    self._wait(error, trying)
            else:
                return
            finally:
                call.cancel()

    def to_arrow(
        self,
        filter: v1.RecordFilter | None = None,
        *,
        columns: Iterable[str] = (),
        limit: int | None = None,
        **conditions: Any,
    ) -> "pyarrow.Table":
        """What `export` gives as a table in memory, of `columns` (docs/export.md) or all; raises ClientError.

        `limit` takes so many of the oldest. Needs `pip install 'infertap[export]'`.

            >>> client.to_arrow(columns=["model", "http_status"]).to_pydict()
            {'model': ['iris', 'iris', 'iris'], 'http_status': [200, 500, 200]}
        """
        gathering = Gathering(columns, limit)
        for batch in self.export(filter, fields=gathering.fields, **conditions):
            if gathering.add(batch.records):
                break
        return gathering.table()

    def to_pandas(
        self,
        filter: v1.RecordFilter | None = None,
        *,
        columns: Iterable[str] = (),
        limit: int | None = None,
        **conditions: Any,
    ) -> "pandas.DataFrame":
        """As `to_arrow`, for pandas, which must be installed too; raises ClientError.

        >>> client.to_pandas(columns=["model", "duration_us"])["duration_us"].max().item()
        2500
        """
        gathering = Gathering(columns, limit, is_for_pandas=True)
        for batch in self.export(filter, fields=gathering.fields, **conditions):
            if gathering.add(batch.records):
                break
        return gathering.frame()

    def stats(
        self,
        filter: v1.RecordFilter | None = None,
        *,
        by: Iterable[str] = (),
        bucket: timedelta | None = None,
        **conditions: Any,
    ) -> v1.GetStatsResponse:
        """Figures over the calls that the records that match stand for; raises ClientError.

        One row for each combination of what `by` names: "model", "model_version", "method", "path", "state",
        "http_status", "grpc_status", "cohort", "error_type", "application_version", or "time", in buckets of
        `bucket`.

            >>> for row in client.stats(by=["model"]).rows:
            ...     print(row.group[0], row.calls, round(row.error_share, 2))
            iris 3.0 0.33
        """
        figures: v1.GetStatsResponse = self._ask(
            self._records.GetStats, stats_request(filter, conditions, by, bucket)
        )
        return figures

    def feedback(self, **said: Any) -> v1.AttachedFeedback:
        """Say what became known of a call afterwards; durable on return. Raises ClientError.

        `said` is what `infertap.feedback.make_feedback` takes. The answer tells the calls that it belongs to.
        A `feedback_id` of one's own makes it safe to send again.

            >>> told = client.feedback(call_id=call_id, rating=4, ground_truth={"is": "setosa"})
            >>> list(told.call_ids) == [call_id]
            True
        """
        return next(iter(self.attach_feedback([feedback_of(said)])))

    def attach_feedback(self, given: Iterable[v1.Feedback]) -> Sequence[v1.AttachedFeedback]:
        """Up to 1000 pieces of feedback at once, all or none; raises ClientError."""
        return tuple(self._ask(self._feedback.AttachFeedback, attach_request(given)).attached)

    def list_feedback(
        self, *, call_id: str = "", request_id: str = "", limit: int | None = None
    ) -> Iterator[v1.Feedback]:
        """What was given to a call, or by a request id, or at all, latest first; raises ClientError."""
        paging = Paging(v1.ListFeedbackRequest(call_id=call_id, request_id=request_id), limit)
        while paging.is_open:
            page = self._ask(self._feedback.ListFeedback, paging.request)
            paging.turn(page.next_page_token, len(page.feedback))
            yield from page.feedback

    def _trying(self, *, is_export: bool = False) -> Trying:
        return self._patience.begin(time.monotonic(), is_export=is_export)

    def _ask(self, method: Any, request: Any) -> Any:
        """The answer, asked for again where nobody is there."""
        trying = self._trying()
        while True:
            try:
                return self._open(method, request, trying.left(time.monotonic()))
            except grpc.RpcError as error:
                self._wait(error, trying)

    def _open(self, method: Any, request: Any, seconds: float | None) -> Any:
        """The call, or the answer of one that has only one; raises gRPC's errors, and ClientError."""
        with translating(self.address):
            metadata = self._connection.metadata()
        return method(request, timeout=seconds, metadata=metadata)

    def _wait(self, error: grpc.RpcError, trying: Trying | None) -> None:
        """Return when it is time to ask again; raises ClientError where it is not."""
        code = error.code()
        pause = None if trying is None else trying.pause(code, time.monotonic())
        if pause is None:
            raise translated(error, self.address) from None
        time.sleep(pause)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
