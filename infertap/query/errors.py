"""Errors: what is wrong with a request, by field, and how a caller hears of it."""

from typing import NoReturn

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status


class InvalidArgumentError(ValueError):
    """A request can't be served as it is; `field` names what is wrong, as a path in the request."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


async def abort_invalid(
    context: "grpc.aio.ServicerContext[object, object]", error: InvalidArgumentError
) -> NoReturn:
    """End the call with INVALID_ARGUMENT, the field in words and as google.rpc.BadRequest (AIP-193)."""
    violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.why)
    detail = error_details_pb2.BadRequest(field_violations=[violation])
    await _abort(context, code_pb2.INVALID_ARGUMENT, str(error), detail)


async def abort_exhausted(
    context: "grpc.aio.ServicerContext[object, object]", subject: str, why: str
) -> NoReturn:
    """End the call with RESOURCE_EXHAUSTED, the limit in words and as google.rpc.QuotaFailure: `subject` is
    the field that asks for too much, or what there is too much of.
    """
    violation = error_details_pb2.QuotaFailure.Violation(subject=subject, description=why)
    detail = error_details_pb2.QuotaFailure(violations=[violation])
    await _abort(context, code_pb2.RESOURCE_EXHAUSTED, f"{subject}: {why}", detail)


async def _abort(
    context: "grpc.aio.ServicerContext[object, object]", code: int, said: str, detail: Message
) -> NoReturn:
    packed = Any()
    packed.Pack(detail)
    status = rpc_status.to_status(status_pb2.Status(code=code, message=said, details=[packed]))
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError("abort returns never")
