"""Dead letters: SpoolService: what storage refuses, shown and sent again.

Touches the spool. The recorder owns the spool's file and is its one writer, so whoever runs the command asks
here rather than open the file. It promises: a list tells no payload; what is resent is pending when it is
answered, and the forwarder is woken.
"""

import asyncio
import struct
import uuid
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from infertap import v1
from infertap.query import InvalidArgumentError, PageTokens, abort_invalid, read_page_size
from sidecar.spool import DeadLetter, Spool, SpoolError

RESEND_MOST: Final = 10_000
_ALL_STEP: Final = 1_000
_SEQUENCE_MOST: Final = (1 << 63) - 1
_POSITION: Final = struct.Struct(">Q")

R = TypeVar("R")
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class DeadLetters(v1.SpoolServiceServicer):
    """Serves the dead letters of one spool."""

    def __init__(self, spool: Spool, resent: Callable[[], None]) -> None:
        """`resent` is called when there is something to send; it must not block."""
        self._spool = spool
        self._resent = resent

    async def ListDeadLetters(  # noqa: N802
        self, request: v1.ListDeadLettersRequest, context: Context
    ) -> v1.ListDeadLettersResponse:
        """See the contract."""
        spool_id = self._spool.spool_id
        try:
            size = read_page_size(request.page_size)
            tokens = PageTokens(_Of(spool_id), _POSITION.size)
            position = tokens.unpack(request.page_token)
            above = _POSITION.unpack(position)[0] if position else 0
            _check_sequence(above, "page_token", least=0)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        found = await self._ask(context, self._spool.dead_letters, above, size)
        account = await self._ask(context, self._spool.account)
        page = v1.ListDeadLettersResponse(spool_id=spool_id, total=account.dead_lettered)
        page.dead_letters.extend(map(_shown, found))
        if found:
            page.next_page_token = tokens.pack(_POSITION.pack(found[-1].sequence))
        return page

    async def GetDeadLetter(  # noqa: N802
        self, request: v1.GetDeadLetterRequest, context: Context
    ) -> v1.GetDeadLetterResponse:
        """See the contract."""
        try:
            _check_sequence(request.sequence, "sequence", least=1)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        found = await self._ask(context, self._spool.dead_letters, request.sequence - 1, 1)
        if not found or found[0].sequence != request.sequence:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"sequence {request.sequence} is no dead letter of this spool"
            )
        shown = v1.GetDeadLetterResponse(dead_letter=_shown(found[0]))
        record = _record(found[0])
        if record is not None:
            record.sequence, record.spool_id = request.sequence, self._spool.spool_id
            shown.record.CopyFrom(record)
        return shown

    async def ResendDeadLetters(  # noqa: N802
        self, request: v1.ResendDeadLettersRequest, context: Context
    ) -> v1.ResendDeadLettersResponse:
        """See the contract."""
        try:
            _check_resend(request)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        if request.all:
            resent = await self._ask(context, self._resend_all)
        else:
            resent = await self._ask(context, self._spool.resend, list(request.sequences))
        self._resent()
        return v1.ResendDeadLettersResponse(resent=resent)

    def _resend_all(self) -> int:
        """In steps: a transaction of any length would keep records waiting. Each only once, as what storage
        refuses again meanwhile is behind.
        """
        resent = above = 0
        while found := self._spool.dead_letters(above, _ALL_STEP):
            above = found[-1].sequence
            resent += self._spool.resend([each.sequence for each in found])
        return resent

    async def _ask(self, context: Context, act: Callable[..., R], *arguments: object) -> R:
        try:
            return await asyncio.to_thread(act, *arguments)
        except SpoolError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the spool can't be used now")
            raise


class _Of:
    """What a page token is bound to: another spool numbers other records."""

    def __init__(self, spool_id: bytes) -> None:
        self.digest = sha256(b"dead letters of " + spool_id).digest()[:8]


def _check_sequence(sequence: int, field: str, least: int) -> None:
    if not least <= sequence <= _SEQUENCE_MOST:
        raise InvalidArgumentError(field, f"expected {least} to {_SEQUENCE_MOST}")


def _check_resend(request: v1.ResendDeadLettersRequest) -> None:
    if bool(request.sequences) == request.all:
        raise InvalidArgumentError("sequences", "expected either some sequences, or all")
    if len(request.sequences) > RESEND_MOST:
        raise InvalidArgumentError("sequences", f"more than {RESEND_MOST}")
    for sequence in request.sequences:
        _check_sequence(sequence, "sequences", least=1)


def _shown(letter: DeadLetter) -> v1.DeadLetter:
    shown = v1.DeadLetter(sequence=letter.sequence, reason=letter.reason)
    if letter.spooled is not None:
        shown.call_id = str(uuid.UUID(bytes=letter.spooled.key))
        shown.size_bytes = letter.spooled.size
    return shown


def _record(letter: DeadLetter) -> v1.Record | None:
    try:
        return None if letter.spooled is None else v1.Record.FromString(letter.spooled.record)
    except DecodeError:
        return None
