"""Reads: which calls fetch what was recorded, or change it, and what the access log says of them.

It promises: a line tells what was asked for and how much was given; of texts it quotes those fields alone
that are listed here, and of others their length: people look for, and ask to delete, the very things that
payloads hold.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import unquote

from google.protobuf.json_format import Error as JsonFormatError
from google.protobuf.json_format import MessageToDict

from infertap import v1
from infertap.identity.caller import Identity, Role
from infertap.identity.guard import Reading
from infertap.identity.required import ROLES

_FOLLOWED: Final = frozenset(
    f"/infertap.v1.{name}"
    for name in (
        "RecordService/GetRecord",
        "RecordService/ListRecords",
        "RecordService/TailRecords",
        "RecordService/ExportRecords",
        "FeedbackService/ListFeedback",
        "AuditService/GetInclusionProof",
        "AuditService/ExportLog",
    )
)
# Where a page begins is noise.
_UNTOLD: Final = ("page_token", "resume_token")
# Fields whose texts are quoted.
_QUOTED: Final = frozenset(
    {
        *("application_version", "bucket", "call_id", "cohort", "end_time", "error_type", "finish_reasons"),
        *("first_day", "group_by", "id", "label", "last_day", "max", "method", "min", "min_duration"),
        *("model", "model_version", "new_size", "old_size", "order_by", "path", "read_mask"),
        *("redaction_class", "request_id", "sequence", "sequences", "session", "sink", "size", "spool_id"),
        # The user as records show it, which is a keyed hash.
        *("start_time", "state", "states", "tags", "thumb", "user"),
    }
)
_MOST_CHARACTERS: Final = 200
_MOST_LISTED: Final = 50


class AccessJournal(Protocol):
    """Where lines go."""

    async def write(self, event: str, facts: Mapping[str, object]) -> None:
        """Return once the line is as durable as it gets here; raises OSError."""

    def tell(self, event: str, facts: Mapping[str, object]) -> object:
        """Let a line be written."""


class LoggedReads:
    """Follows the calls that read, or that only an admin may make, for one access log."""

    def __init__(self, log: AccessJournal) -> None:
        self._log = log

    def of(self, identity: Identity, method: str, request: Any, peer: str) -> Reading | None:
        """How this call is followed; None for one that reads nothing."""
        is_admins = ROLES.get(method) is Role.ADMIN
        if method not in _FOLLOWED and not is_admins:
            return None
        event = "admin" if is_admins else "read"
        return _LoggedReading(self._log, event, facts_of(identity, method, peer, asked_of(request)))


class _LoggedReading:
    is_act: bool

    def __init__(self, log: AccessJournal, event: str, facts: Mapping[str, object]) -> None:
        self._log = log
        self._event = event
        self._facts = facts
        self._records = 0
        self.is_act = event == "admin"

    async def begin(self) -> None:
        await self._log.write(self._event, {**self._facts, "records": 0, "state": "began"})

    def count(self, answer: Any) -> None:
        self._records += _records_in(answer)

    async def end(self) -> None:
        await self._log.write(self._event, self._with_count("answered"))

    def over(self, *, is_failed: bool) -> None:
        self._log.tell(self._event, self._with_count("failed" if is_failed else "ended"))

    def _with_count(self, state: str) -> dict[str, object]:
        return {**self._facts, "records": self._records, "state": state}


def facts_of(identity: Identity, method: str, peer: str, asked: Mapping[str, object]) -> dict[str, object]:
    """The part of a line that is known when a call begins."""
    tenant = "*" if identity.tenant is None else identity.tenant
    # gRPC writes an address as a part of a URI.
    return {
        "identity": identity.name,
        "tenant": tenant,
        "peer": unquote(peer),
        "method": method,
        "asked": asked,
    }


def asked_of(request: Any) -> dict[str, object]:
    """What a request asks for, less what is not to be told."""
    if not hasattr(request, "DESCRIPTOR"):  # a stream of requests
        return {}
    try:
        return told(MessageToDict(request, preserving_proto_field_name=True))
    except (JsonFormatError, ValueError):  # a time, a span or a mask that none can be; the service says which
        return {"unreadable": True}


def told(asked: Mapping[str, Any]) -> dict[str, object]:
    """`asked` with the texts of fields that are not listed, and with nothing of any length."""
    return {
        name: told(value) if isinstance(value, Mapping) else _shown(name, value)
        for name, value in asked.items()
        if name not in _UNTOLD and value != ""
    }


def _shown(name: str, value: Any) -> object:
    if isinstance(value, list):
        return [_shown(name, each) for each in value[:_MOST_LISTED]]
    if isinstance(value, str):
        return value[:_MOST_CHARACTERS] if name in _QUOTED else f"({len(value)} characters)"
    return value


def _records_in(answer: Any) -> int:
    """How much an answer gives: records or pieces of feedback, or how many an act was about."""
    if isinstance(answer, v1.Record):
        return 1
    given = getattr(answer, "records", None) or getattr(answer, "feedback", None) or 0
    return given if isinstance(given, int) else len(given)
