"""Errors: what is wrong with a request, by field, and how a caller hears of it."""

from typing import NoReturn

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any
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
    detail = Any()
    detail.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    status = rpc_status.to_status(
        status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message=str(error), details=[detail])
    )
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError("abort returns never")
