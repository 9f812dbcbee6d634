"""The client: fetches records from storage or from a sidecar, gives feedback, asks for figures."""

from infertap.client.asynchronous import AsyncClient
from infertap.client.blocking import Client
from infertap.client.errors import (
    ClientError,
    InvalidRequestError,
    MissingExtraError,
    NotAllowedError,
    RecordNotFoundError,
    UnreachableError,
)
from infertap.client.filters import make_filter
from infertap.client.reaching import ADDRESS_SETTING, DEFAULT_ADDRESS

__all__ = [
    "ADDRESS_SETTING",
    "DEFAULT_ADDRESS",
    "AsyncClient",
    "Client",
    "ClientError",
    "InvalidRequestError",
    "MissingExtraError",
    "NotAllowedError",
    "RecordNotFoundError",
    "UnreachableError",
    "make_filter",
]
