"""Paging: page sizes and page tokens (AIP-158).

A token is opaque to its holder: it says where the next page begins, and for which query, so that it can't be
used with another.

    version 0x01 | digest of the query, 8 bytes | position, as the server packs it        base64url, unpadded
"""

import base64
import binascii
import uuid
from typing import Final, Protocol

from infertap.query.errors import InvalidArgumentError

PAGE_DEFAULT: Final = 50
PAGE_MOST: Final = 1000
BACKLOG_MOST: Final = 1000
_VERSION: Final = b"\x01"
_TOKEN_MOST: Final = 512


def read_page_size(asked: int) -> int:
    """How many records a page may have; raises InvalidArgumentError."""
    if asked < 0:
        raise InvalidArgumentError("page_size", "below zero")
    return min(asked, PAGE_MOST) or PAGE_DEFAULT


def read_backlog(asked: int) -> int:
    """How many earlier records a tail begins with; raises InvalidArgumentError."""
    if not 0 <= asked <= BACKLOG_MOST:
        raise InvalidArgumentError("backlog", f"expected 0 to {BACKLOG_MOST}")
    return asked


def read_call_id(asked: str) -> bytes:
    """The 16 bytes of a call id; raises InvalidArgumentError."""
    try:
        return uuid.UUID(asked).bytes
    except ValueError:
        raise InvalidArgumentError("call_id", "expected a UUID") from None


class Digested(Protocol):
    """Whatever is asked for, page by page."""

    @property
    def digest(self) -> bytes:
        """8 bytes that tell it from others."""


class PageTokens:
    """Packs and unpacks the tokens of one query. `position_bytes` is how long the server's positions are;
    `field` is where a request has its token.
    """

    def __init__(self, query: Digested, position_bytes: int, field: str = "page_token") -> None:
        self._field = field
        self._head = _VERSION + query.digest
        self._size = len(self._head) + position_bytes

    def pack(self, position: bytes) -> str:
        """The token for a next page that begins after `position`."""
        return base64.urlsafe_b64encode(self._head + position).decode().rstrip("=")

    def unpack(self, token: str) -> bytes | None:
        """The position in `token`, None for the first page; raises InvalidArgumentError."""
        if not token:
            return None
        raw = _decoded(token) if len(token) <= _TOKEN_MOST else b""
        if len(raw) != self._size or not raw.startswith(_VERSION):
            raise InvalidArgumentError(self._field, "not a token of this service")
        if not raw.startswith(self._head):
            raise InvalidArgumentError(self._field, "of another filter or order; begin again without it")
        return raw[len(self._head) :]


def _decoded(token: str) -> bytes:
    """What `token` encodes; nothing where it is no base64."""
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
