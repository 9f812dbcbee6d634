"""Halving: finds the records for which an endpoint refuses a whole request, as it doesn't say which. Pure.

What is refused whole is sent again in halves, and so on until the guilty one stands alone: everything else
arrives. Where nothing passes at all it is not the records' fault, but for their size.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from storage.sinks.endpoint import NotTaken
from storage.sinks.interface import Batch, Refused, Sink, SinkError
from storage.sinks.settled import Settled

_TOO_LARGE: Final = 413
# So many in a row, with nothing that passed, are no coincidence.
_MOST_ALONE: Final = 8


async def send_in_halves(
    indexes: Sequence[int], send: Callable[[Sequence[int]], Awaitable[None]]
) -> Sequence[Refused]:
    """Send all of them: `send` raises NotTaken for records of which the endpoint kept none. Returns those
    that are refused alone. Raises SinkError where nothing passes, and what else `send` does.
    """
    waiting = [indexes] if indexes else []
    refused: list[Refused] = []
    has_passed = False
    while waiting:
        part = waiting.pop()
        try:
            await send(part)
            has_passed = True
        except NotTaken as refusal:
            if len(part) > 1:
                waiting += [part[len(part) // 2 :], part[: len(part) // 2]]
                continue
            refused.append(Refused(part[0], str(refusal)))
            if len(refused) == _MOST_ALONE and not (has_passed or refusal.status == _TOO_LARGE):
                raise SinkError(str(refusal)) from None
    return refused


async def send_rest(
    batch: Batch, settled: Settled, send: Callable[[Batch, Sequence[int]], Awaitable[None]]
) -> Sequence[Refused]:
    """Send what of a batch nothing is known of, in halves where it must be: `send` settles what it sends.
    Returns all of the batch that is refused; raises as `send_in_halves` does.
    """
    settled.refuse(await send_in_halves(settled.left_of(batch), partial(send, batch)))
    return settled.refused


async def deliver_one_by_one(sink: Sink, batch: Batch, *, may_all_fail: bool = False) -> list[Refused]:
    """Deliver a batch at which a sink fails in a way that nobody foresaw: a record for which it does so alone
    is refused. Raises SinkError, also where that is so of many and nothing passes: it is no record's fault,
    unless they `may_all_fail`, as those that were refused before.
    """
    refused: list[Refused] = []
    for index, record in enumerate(batch.records):
        try:
            of_one = await sink.deliver(Batch([record], batch.number))
            refused += [Refused(index, each.reason) for each in of_one]
        except SinkError:
            raise
        except Exception as error:
            refused.append(Refused(index, type(error).__name__))
        if len(refused) == index + 1 == _MOST_ALONE and not may_all_fail:
            raise SinkError(refused[0].reason)
    return refused
