"""Archives of every engine: DuckDB in a directory, ClickHouse behind a server (`make clickhouse`)."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.archive import Archive, open_archive
from storage.archive.clickhouse_archive import ClickhouseArchive
from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_location import read_location
from tests.storage.archive.clickhouse_process import MEMORY, ClickhouseServer, running_server

ENGINES = ["duckdb", pytest.param("clickhouse", marks=pytest.mark.clickhouse)]


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseServer]:
    """One server for all tests that don't kill it; each makes a database of its own."""
    with running_server(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture
def own_clickhouse_server(tmp_path: Path) -> Iterator[ClickhouseServer]:
    """A server that the test may kill."""
    with running_server(tmp_path / "clickhouse") as server:
        yield server


@pytest.fixture
def url(clickhouse_server: ClickhouseServer) -> str:
    """Where an archive in ClickHouse is."""
    return clickhouse_server.url(clickhouse_server.database())


@pytest.fixture
def open_another(url: str) -> Iterator[Callable[[], ClickhouseArchive]]:
    """Opens the archive as one more storage process would."""
    with contextlib.ExitStack() as opened:

        def open_it() -> ClickhouseArchive:
            archive = open_archive(url, MEMORY)
            opened.callback(archive.close)
            assert isinstance(archive, ClickhouseArchive)
            return archive

        yield open_it


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    """To that archive's tables."""
    with contextlib.closing(Connection(read_location(url), MEMORY)) as made:
        yield made


@pytest.fixture(params=ENGINES)
def make_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Makes locations of archives that are empty, of each engine in turn."""
    if request.param == "duckdb":
        return lambda: str(tmp_path_factory.mktemp("place") / "archive")
    server: ClickhouseServer = request.getfixturevalue("clickhouse_server")
    return lambda: server.url(server.database())


@pytest.fixture
def place(make_place: Callable[[], str]) -> str:
    """Where the test's archive is."""
    return make_place()


@pytest.fixture
def reopen(place: str) -> Iterator[Callable[[], Archive]]:
    """Opens the test's archive, again too."""
    opened: list[Archive] = []

    def open_it(**more: Any) -> Archive:
        opened.append(open_archive(place, MEMORY, **more))
        return opened[-1]

    yield open_it
    for archive in opened:
        archive.close()


@pytest.fixture
def archive(reopen: Callable[[], Archive]) -> Archive:
    return reopen()
