"""Ending: ends a call that is being served, from outside of it. Touches that call.

It promises: what the call holds is let go at once, also where its caller takes no answers, so that the status
can't reach it before its connection ends.
"""

import asyncio
import contextlib
from typing import Any

import grpc
import grpc.aio

Context = grpc.aio.ServicerContext[Any, Any]


async def end_call(
    context: Context, task: "asyncio.Task[Any] | None", code: grpc.StatusCode, why: str
) -> None:
    """End the call that `task` serves with that status; returns once its caller has it, or is gone."""
    telling = asyncio.ensure_future(context.abort(code, why))
    await asyncio.sleep(0)
    if task is not None:
        task.cancel()
    with contextlib.suppress(Exception):  # abort always raises; the call may be over, too
        await telling
