"""Client: fetches records, from storage or from a sidecar.

    from infertap import Client

    with Client("tls:storage:9903", ca_file="ca.pem", token_file="token") as client:
        for record in client.list(model="iris", states=["FAILED"], limit=20):
            print(record.timing.start.ToDatetime(), record.path, record.http_status)

Records are `infertap.v1.Record`, typed, with the comments of the contract. Touches one gRPC channel, and the
files of TLS and token that it is told of.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from infertap import v1
from infertap.connection import AccessError, Connection
from infertap.feedback import make_feedback

ADDRESS_SETTING: Final = "INFERTAP_ADDRESS"
DEFAULT_ADDRESS: Final = "127.0.0.1:9903"
_PAGE: Final = 200
_DEADLINE_SECONDS: Final = 30.0
_OPTIONS: Final = (("grpc.max_receive_message_length", 64 << 20),)


class ClientError(Exception):
    """A request was not answered as asked; the message says what to do."""


class RecordNotFoundError(ClientError):
    """There is no such record there."""


class InvalidRequestError(ClientError):
    """The request can't be meant; the message names the field."""


class NotAllowedError(ClientError):
    """The server does not know who asks, or who asks may not do that."""


class UnreachableError(ClientError):
    """Nobody answers at the address, or not in time."""


class Client:
    """One connection to where records are served. Safe to use from several threads."""

    def __init__(
        self,
        address: str | None = None,
        *,
        deadline_seconds: float = _DEADLINE_SECONDS,
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
        self.address = address or os.environ.get(ADDRESS_SETTING) or DEFAULT_ADDRESS
        self._deadline_seconds = deadline_seconds
        with _translated(self.address):
            self._connection = Connection.of(
                self.address,
                ca_file=ca_file,
                cert_file=cert_file,
                key_file=key_file,
                server_name=server_name,
                token=token,
                token_file=token_file,
            )
            self._channel = self._connection.channel(_OPTIONS)
        self._records = v1.RecordServiceStub(self._channel)
        self._feedback = v1.FeedbackServiceStub(self._channel)

    def get(self, call_id: str, *, fields: Iterable[str] = ()) -> v1.Record:
        """The record of a call, or only some of its `fields`; raises ClientError."""
        request = v1.GetRecordRequest(call_id=call_id, read_mask=FieldMask(paths=fields))
        with _translated(self.address):
            return self._records.GetRecord(request, **self._asked())

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
        timedelta, states by name: `list(model="iris", states=["FAILED"], min_duration=timedelta(seconds=1))`.
        `feedback` is a FeedbackFilter, True (any) or False (none); `input_tokens` and the like are a
        CountRange, or the least and the most as two numbers, None for no bound.
        Calls in flight are listed where `states` names INFERENCING.
        """
        request = v1.ListRecordsRequest(
            filter=make_filter(filter, **conditions),
            read_mask=FieldMask(paths=fields),
            order_by=order_by,
        )
        left = limit
        while left is None or left > 0:
            request.page_size = _PAGE if left is None else min(left, _PAGE)
            with _translated(self.address):
                page = self._records.ListRecords(request, **self._asked())
            yield from page.records
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
            left = None if left is None else left - len(page.records)

    def tail(
        self,
        filter: v1.RecordFilter | None = None,
        *,
        backlog: int = 0,
        fields: Iterable[str] = (),
        **conditions: Any,
    ) -> Iterator[v1.Record]:
        """The latest `backlog` records that match, then each new one as it arrives; raises ClientError.

        Calls that last are told of while they are in flight too (state INFERENCING, without a sequence), and
        again by their records; name `states` to have only some.
        """
        request = v1.TailRecordsRequest(
            filter=make_filter(filter, **conditions), backlog=backlog, read_mask=FieldMask(paths=fields)
        )
        with _translated(self.address):
            call = self._records.TailRecords(request, metadata=self._connection.metadata())
        try:
            with _translated(self.address):
                yield from call
        finally:
            call.cancel()

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
        `bucket`: `stats(by=["model", "time"], bucket=timedelta(hours=1), start_time=since)`.
        """
        request = v1.GetStatsRequest(
            filter=make_filter(filter, **conditions), group_by=[_dimension(name) for name in by]
        )
        if bucket is not None:
            request.bucket.CopyFrom(_duration(bucket))
        with _translated(self.address):
            return self._records.GetStats(request, **self._asked())

    def feedback(self, **said: Any) -> v1.AttachedFeedback:
        """Say what became known of a call afterwards; durable on return. Raises ClientError.

        `said` is what `infertap.feedback.make_feedback` takes:
        `feedback(request_id="r-17", rating=4, labels=["late"], ground_truth={"species": "setosa"})`. The
        answer tells the calls that it belongs to. A `feedback_id` of one's own makes it safe to send again.
        """
        try:
            given = make_feedback(**said)
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(str(error)) from None
        return next(iter(self.attach_feedback([given])))

    def attach_feedback(self, given: Iterable[v1.Feedback]) -> Sequence[v1.AttachedFeedback]:
        """Up to 1000 pieces of feedback at once, all or none; raises ClientError."""
        request = v1.AttachFeedbackRequest(feedback=given)
        with _translated(self.address):
            answer = self._feedback.AttachFeedback(request, **self._asked())
        return tuple(answer.attached)

    def list_feedback(
        self, *, call_id: str = "", request_id: str = "", limit: int | None = None
    ) -> Iterator[v1.Feedback]:
        """What was given to a call, or by a request id, or at all, latest first; raises ClientError."""
        request = v1.ListFeedbackRequest(call_id=call_id, request_id=request_id)
        left = limit
        while left is None or left > 0:
            request.page_size = _PAGE if left is None else min(left, _PAGE)
            with _translated(self.address):
                page = self._feedback.ListFeedback(request, **self._asked())
            yield from page.feedback
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
            left = None if left is None else left - len(page.feedback)

    def _asked(self) -> dict[str, Any]:
        """What every request is made with."""
        return {"timeout": self._deadline_seconds, "metadata": self._connection.metadata()}

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def make_filter(base: v1.RecordFilter | None = None, **conditions: Any) -> v1.RecordFilter:
    """A filter of `base` and `conditions`; raises InvalidRequestError for a field that no filter has."""
    made = v1.RecordFilter()
    if base is not None:
        made.CopyFrom(base)
    for name, value in conditions.items():
        if name not in v1.RecordFilter.DESCRIPTOR.fields_by_name:
            known = ", ".join(v1.RecordFilter.DESCRIPTOR.fields_by_name)
            raise InvalidRequestError(f"{name}: no such condition; there are {known}")
        try:
            _set(made, name, value)
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(f"{name}: {error}") from None
    return made


def _set(made: v1.RecordFilter, name: str, value: Any) -> None:
    """Set one field; raises TypeError or ValueError where `value` is nothing for it."""
    if name in ("start_time", "end_time"):
        getattr(made, name).CopyFrom(_timestamp(value))
    elif name == "feedback":
        made.feedback.CopyFrom(_feedback(value))
    elif name.endswith("_tokens"):
        getattr(made, name).CopyFrom(_range(value))
    elif name == "min_duration":
        made.min_duration.CopyFrom(_duration(value))
    elif made.DESCRIPTOR.fields_by_name[name].is_repeated:
        if not isinstance(value, list | tuple | set | frozenset):
            raise TypeError("expected a list")
        getattr(made, name).extend(_state(each) if name == "states" else each for each in value)
    else:
        setattr(made, name, value)


def _timestamp(value: Any) -> Timestamp:
    if isinstance(value, Timestamp):
        return value
    if not isinstance(value, datetime):
        raise TypeError("expected a datetime")
    stamp = Timestamp()
    # One without a zone is local time.
    stamp.FromDatetime(value.astimezone(UTC))
    return stamp


def _duration(value: Any) -> Duration:
    if isinstance(value, Duration):
        return value
    if not isinstance(value, timedelta):
        raise TypeError("expected a timedelta")
    duration = Duration()
    duration.FromTimedelta(value)
    return duration


def _range(value: Any) -> v1.CountRange:
    if isinstance(value, v1.CountRange):
        return value
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError("expected the least and the most, or a CountRange")
    return v1.CountRange(min=value[0], max=value[1])


def _dimension(name: str) -> "v1.GetStatsRequest.Dimension.ValueType":
    known = [each for each, number in v1.GetStatsRequest.Dimension.items() if number]
    if name.upper() not in known:
        raise InvalidRequestError(f"by: no {name!r}; there are {', '.join(known).lower()}")
    return v1.GetStatsRequest.Dimension.Value(name.upper())


def _feedback(value: Any) -> v1.FeedbackFilter:
    if isinstance(value, bool):
        return v1.FeedbackFilter(is_absent=not value)
    if not isinstance(value, v1.FeedbackFilter):
        raise TypeError("expected True, False or a FeedbackFilter")
    return value


def _state(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    names = [name.lower() for name, number in v1.State.items() if number]
    if value.lower() not in names:
        raise ValueError(f"no state {value!r}; there are {', '.join(names)}")
    return v1.State.Value(value.upper())


@contextmanager
def _translated(address: str) -> Iterator[None]:
    """gRPC's errors as this module's own."""
    try:
        yield
    except AccessError as error:
        raise ClientError(str(error)) from None
    except grpc.RpcError as error:
        code, details = error.code(), error.details() or ""
        if code is grpc.StatusCode.NOT_FOUND:
            raise RecordNotFoundError(details) from None
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            raise InvalidRequestError(details) from None
        if code is grpc.StatusCode.UNIMPLEMENTED:
            raise ClientError(
                f"{address}: {details}; feedback is kept by storage (port 9903)"
            ) from None
        if code is grpc.StatusCode.UNAUTHENTICATED:
            raise NotAllowedError(
                f"{address} does not know this token or certificate, or none was shown (INFERTAP_TOKEN_FILE)"
            ) from None
        if code is grpc.StatusCode.PERMISSION_DENIED:
            raise NotAllowedError(f"{address}: {details}") from None
        if code is grpc.StatusCode.UNAVAILABLE:
            raise UnreachableError(
                f"no records to be had at {address}: is it storage (port 9903) or a sidecar's API (9901),"
                f" and does it speak TLS (tls:HOST:PORT)?"
                f" ({details})"
            ) from None
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise UnreachableError(
                f"{address} did not answer in time; ask for less, or wait longer"
            ) from None
        raise ClientError(f"{address}: {code.name}: {details}") from None
