"""Redacted body: what of a body goes into the record, or why nothing does. Values only."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Withheld(StrEnum):
    """Why a body is not in the record."""

    # By INFERTAP_OPAQUE_BODIES: no rule can read such a body.
    DIGESTED = "digested"
    DROPPED = "dropped"
    # Cut, and can't be parsed as what it is, while rules on fields ask for that.
    CUT = "cut"
    MALFORMED = "malformed"
    TOO_DEEP = "too_deep"
    # Its content encoding can't be opened.
    UNREADABLE = "unreadable"
    FAILED = "redaction_failed"
    # It took more time than a body of that size is allowed.
    OVER_TIME = "redaction_over_time"
    # Something in a decoded message was masked: its view is in the record, its bytes are not.
    VIEW_ONLY = "view_only"


@dataclass(frozen=True, slots=True)
class RedactedBody:
    """What of a body goes into the record."""

    # Redacted, UTF-8 where it is text; empty where withheld.
    data: bytes = b""
    # The redacted documents, where it is JSON: one, or one for each event or line; NOT_JSON members left out.
    documents: tuple[Any, ...] = ()
    withheld: Withheld | None = None
    # Keyed hash of the raw bytes, for a body kept as a digest where there is a key.
    digest: str = ""
    # Where in `data` the tail of a body with a hole begins, or among its documents where these are all.
    tail_offset: int | None = None


class UnreadableError(Exception):
    """A body can't be read, or not in one way only."""

    def __init__(self, why: Withheld) -> None:
        self.why = why
