"""Sinks over an archive that several storages keep: the real engine (`make test-clickhouse`)."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infertap import v1
from infertap.query import Query
from storage.archive import BY_REQUEST, Archive, Interrupt, open_archive
from tests.storage.archive.clickhouse_process import running_server
from tests.storage.sinks.test_forwarding import NOW, SECOND, ids, until_stands

if TYPE_CHECKING:
    from tests.storage.conftest import Making
    from tests.storage.sinks.conftest import Running, ScriptedSink

pytestmark = pytest.mark.clickhouse
MEMORY = 256 << 20


@pytest.fixture
def archives(tmp_path: Path) -> Iterator[tuple[Archive, Archive]]:
    """One archive, as two storages open it."""
    with running_server(tmp_path / "clickhouse") as server:
        place = server.url(server.database())
        opened = open_archive(place, MEMORY), open_archive(place, MEMORY)
        yield opened
        for archive in opened:
            archive.close()


async def test_one_of_two_storages_forwards(
    archives: tuple[Archive, Archive],
    making: "Making",
    scripted: "ScriptedSink",
    running: "Running",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What either stores goes on once, in order; when the one that forwards ends the other goes on where it
    was. What is refused is kept for both, and what the other deletes before it went on is counted.
    """
    monkeypatch.setattr("storage.audit.sharing.SETTLE_SECONDS", 0.1)
    monkeypatch.setattr("storage.sinks.running._RENEW_SECONDS", 0.1)
    one, other = archives
    one.append([making.entry(1), making.entry(2)], NOW)
    other.append([making.entry(3), making.entry(4, caller__user="u")], NOW + SECOND)
    scripted.poison = {ids(2)[0]: "http 400"}
    async with contextlib.AsyncExitStack() as last:
        async with running(one, is_shared=True):
            await scripted.until(lambda: len(scripted.taken) == 3)
            beside = await last.enter_async_context(running(other, is_shared=True))
            made = await until_stands(beside, lambda made: made.delivered == 3)
            assert (made.refused, made.waiting, scripted.opened) == (1, 0, 1)
        del scripted.poison[ids(2)[0]]
        assert beside.resend("scripted") == 1
        one.append([making.entry(5)], NOW + 2 * SECOND)
        await until_stands(beside, lambda made: made.delivered == 5)
        assert sorted(scripted.taken) == ids(1, 2, 3, 4, 5)
        assert scripted.opened == 2
    async with running(other, is_shared=False, name="later") as sinks:
        scripted.failures = [RuntimeError()] * 100
        await until_stands(sinks, lambda made: bool(made.last_error))
        asked = Query.of(v1.RecordFilter(user="u"))
        other.delete(asked, BY_REQUEST, NOW + 9 * SECOND, Interrupt())
        await until_stands(sinks, lambda made: made.lost == 1)
