"""Errors: what a client raises, and how gRPC's own become these. Pure."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

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
    kind, said = _SAID.get(code, (ClientError, "{address}: {code}: {details}"))
    return kind(said.format(address=address, code=code.name, details=details))


_SAID: Final[dict[grpc.StatusCode, tuple[type[ClientError], str]]] = {
    grpc.StatusCode.NOT_FOUND: (RecordNotFoundError, "{details}"),
    grpc.StatusCode.INVALID_ARGUMENT: (InvalidRequestError, "{details}"),
    grpc.StatusCode.UNIMPLEMENTED: (
        ClientError,
        "{address} does not do that. Feedback goes to central storage, a sidecar keeps none:"
        " give the address of storage (port 9903), by INFERTAP_ADDRESS or --address",
    ),
    grpc.StatusCode.UNAUTHENTICATED: (
        NotAllowedError,
        "{address} does not know this token or certificate, or none was shown (INFERTAP_TOKEN_FILE)",
    ),
    grpc.StatusCode.PERMISSION_DENIED: (NotAllowedError, "{address}: {details}"),
    grpc.StatusCode.UNAVAILABLE: (
        UnreachableError,
        "no records to be had at {address}: is it storage (port 9903) or a sidecar's API (9901),"
        " and does it speak TLS (tls:HOST:PORT)? ({details})",
    ),
    grpc.StatusCode.DEADLINE_EXCEEDED: (
        UnreachableError,
        "{address} did not answer in time; ask for less, or wait longer",
    ),
}
