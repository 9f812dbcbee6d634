"""Errors: what a client raises, and how gRPC's own become these. Pure."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from infertap.connection import AccessError


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


class MissingExtraError(ClientError):
    """What was asked for needs another package; the message says how to install it."""


@contextmanager
def translating(address: str) -> Iterator[None]:
    """gRPC's errors, and those of files of access, as the client's own."""
    try:
        yield
    except AccessError as error:
        raise ClientError(str(error)) from None
    except grpc.RpcError as error:
        raise translated(error, address) from None


def translated(error: Any, address: str) -> ClientError:
    """The client's error for one of gRPC, of either of its interfaces."""
    code, details = error.code(), error.details() or ""
    match code:
        case grpc.StatusCode.NOT_FOUND:
            return RecordNotFoundError(details)
        case grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidRequestError(details)
        case grpc.StatusCode.UNIMPLEMENTED:
            return ClientError(f"{address}: {details}; feedback is kept by storage (port 9903)")
        case grpc.StatusCode.UNAUTHENTICATED:
            return NotAllowedError(
                f"{address} does not know this token or certificate, or none was shown (INFERTAP_TOKEN_FILE)"
            )
        case grpc.StatusCode.PERMISSION_DENIED:
            return NotAllowedError(f"{address}: {details}")
        case grpc.StatusCode.UNAVAILABLE:
            return UnreachableError(
                f"no records to be had at {address}: is it storage (port 9903) or a sidecar's API (9901),"
                f" and does it speak TLS (tls:HOST:PORT)? ({details})"
            )
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return UnreachableError(f"{address} did not answer in time; ask for less, or wait longer")
    return ClientError(f"{address}: {code.name}: {details}")
