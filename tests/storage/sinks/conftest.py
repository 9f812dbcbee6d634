"""A real archive, and sinks that do what a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from prometheus_client import CollectorRegistry

from infertap.query import Query
from storage.archive import Archive, open_archive
from storage.sinks import Around, Batch, Refused, Sink, SinkNumbers, Sinks, SinkSettings, record_id
from storage.sinks.sinks_file import Limits

MEMORY = 256 << 20
WAIT_SECONDS = 20


class ScriptedSink:
    """Takes everything, unless a test says otherwise."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.batches: list[Batch] = []
        # Raised by the next calls, one each; None: taken.
        self.failures: list[Exception | None] = []
        # By the record's id, with the reason.
        self.poison: dict[str, str] = {}
        # Ids of records of which the sink fails as nobody foresaw.
        self.bugs: set[str] = set()
        self.opened = self.closed = 0
        self.changed = asyncio.Condition()

    async def open(self) -> Sink:
        self.opened += 1
        return self

    async def deliver(self, batch: Batch) -> Sequence[Refused]:
        self.batches.append(batch)
        failure = self.failures.pop(0) if self.failures else None
        if any(record_id(each) in self.bugs for each in batch.records):
            failure = ValueError("quotes payload")
        refused = [
            Refused(index, self.poison[record_id(record)])
            for index, record in enumerate(batch.records)
            if record_id(record) in self.poison
        ]
        if failure is None:
            self.taken += [record_id(each) for each in batch.records if record_id(each) not in self.poison]
        async with self.changed:
            self.changed.notify_all()
        if failure is not None:
            raise failure
        return refused

    async def close(self) -> None:
        self.closed += 1

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for what the next calls bring about."""
        async with asyncio.timeout(WAIT_SECONDS), self.changed:
            await self.changed.wait_for(is_so)


Running: TypeAlias = Callable[..., AbstractAsyncContextManager[Sinks]]


@pytest.fixture
def scripted() -> ScriptedSink:
    return ScriptedSink()


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Callable[[], Archive]]:
    """Opens the test's archive, again too."""
    opened: list[Archive] = []

    def open_it() -> Archive:
        for earlier in opened:
            earlier.close()
        opened.append(open_archive(str(tmp_path / "archive"), MEMORY))
        return opened[-1]

    yield open_it
    for archive in opened:
        archive.close()


@pytest.fixture
def archive(reopen: Callable[[], Archive]) -> Archive:
    return reopen()


@pytest.fixture
def running(scripted: ScriptedSink) -> Running:
    """Runs sinks over an archive: the scripted one unless said otherwise; pauses are short."""

    @asynccontextmanager
    async def run(
        archive: Archive, *, is_shared: bool = False, said: list[Any] | None = None, **more: Any
    ) -> AsyncIterator[Sinks]:
        fields: dict[str, Any] = {
            "name": "scripted",
            "kind": "jsonl",
            "query": Query(),
            "begins_at_beginning": True,
            "limits": Limits(10, 1 << 20, 0.0),
            "repeats_exactly": False,
            "open": scripted.open,
        }
        told: list[Any] = [] if said is None else said
        around = Around(
            archive, archive.audit, lambda *what, **facts: told.append((what, facts)), 0.05, lambda: 0.0
        )  # type: ignore[attr-defined]
        sinks = Sinks(
            [SinkSettings(**{**fields, **more})],
            around,
            SinkNumbers(CollectorRegistry()),
            is_shared=is_shared,
        )
        task = asyncio.create_task(sinks.run())
        try:
            yield sinks
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return run
