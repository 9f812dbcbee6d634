"""Reads: which calls fetch what was recorded, and what the access log says of them.

It promises: a line tells what was asked for and how much was given, and quotes no text that was looked for,
since people look for the very things that payloads hold.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import unquote

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
# Of what is asked for: where a page begins is noise, and what is looked for may be personal.
_UNTOLD: Final = ("page_token", "resume_token")
_HIDDEN: Final = ("text",)
_MOST_CHARACTERS: Final = 200


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
    def __init__(self, log: AccessJournal, event: str, facts: Mapping[str, object]) -> None:
        self._log = log
        self._event = event
        self._facts = facts
        self._records = 0
        self._is_stream = False

    async def begin(self) -> None:
        self._is_stream = True
        await self._log.write(self._event, {**self._facts, "records": 0, "state": "began"})

    def count(self, answer: Any) -> None:
        self._records += _records_in(answer)

    async def end(self) -> None:
        await self._log.write(self._event, self._with_count("answered"))

    def over(self) -> None:
        self._log.tell(self._event, self._with_count("ended" if self._is_stream else "failed"))

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
    return told(MessageToDict(request, preserving_proto_field_name=True))


def told(asked: Mapping[str, Any]) -> dict[str, object]:
    """`asked` with long texts cut, and with the length alone of what was looked for in bodies."""
    shown: dict[str, object] = {}
    for name, value in asked.items():
        if name in _HIDDEN and value:
            shown[name] = f"({len(str(value))} characters)"
        elif name not in _UNTOLD and value != "":
            shown[name] = told(value) if isinstance(value, Mapping) else _cut(value)
    return shown


def _cut(value: Any) -> object:
    return value[:_MOST_CHARACTERS] if isinstance(value, str | list) else value


def _records_in(answer: Any) -> int:
    if isinstance(answer, v1.Record):
        return 1
    return len(getattr(answer, "records", None) or getattr(answer, "feedback", None) or ())
