"""Retention: what the settings say, and the task that does it."""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from storage import config
from storage.archive import ArchiveError, Expired, ModelRule, Retention, Usage, open_archive
from storage.audit import Lease
from storage.numbers import Numbers
from storage.setting_values import read_ages, read_sizes
from storage.upkeep.retention import Retaining

if TYPE_CHECKING:
    from tests.storage.conftest import Making

DAY = 86_400_000_000_000
SPOOL = b"s" * 16


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("off", ()),
        ("", ()),
        ("90d", (ModelRule("*", 90 * DAY),)),
        (
            "llama*=30d, iris=12h,*=90d",
            (ModelRule("llama*", 30 * DAY), ModelRule("iris", DAY // 2), ModelRule("*", 90 * DAY)),
        ),
        ("a=b=1d", (ModelRule("a=b", DAY),)),
        ("60s", (ModelRule("*", 60_000_000_000),)),
    ],
)
def test_ages(text: str, rules: tuple[ModelRule, ...]) -> None:
    """Rules in their order; a limit alone is for all models."""
    assert read_ages(text) == rules


@pytest.mark.parametrize(
    "text", ["90", "0d", "-1d", "=1d", "a*b=1d", "*=1d,llama=2d", "llama*=1d,llama-3=2d", "a=1d,a=2d", "1w"]
)
def test_ages_that_can_not_be(text: str) -> None:
    """What has no limit, no model, or comes behind a rule that takes all its models."""
    with pytest.raises(ValueError, match=r"expected|no model is left"):
        read_ages(text)


def test_sizes() -> None:
    """As ages, in bytes."""
    assert read_sizes("llama*=1GiB,*=10MiB") == (ModelRule("llama*", 1 << 30), ModelRule("*", 10 << 20))


def test_settings() -> None:
    """All three make the retention that the archive is asked for."""
    settings = config.read(
        {
            "INFERTAP_ARCHIVE_DISK_BYTES": "1GiB",
            "INFERTAP_RETENTION_AGE": "1d",
            "INFERTAP_RETENTION_BYTES": "1MiB",
        }
    )
    assert settings.retention == Retention((ModelRule("*", DAY),), (ModelRule("*", 1 << 20),), 1 << 30)


def test_step(tmp_path: Path, making: "Making") -> None:
    """What is over age goes, and is counted; then there is nothing more to do."""
    archive = open_archive(str(tmp_path), 256 << 20)
    now_ns = time.time_ns()
    archive.append([making.entry(1)], now_ns - 3 * DAY)
    archive.append([making.entry(2)], now_ns)
    numbers = Numbers()
    retaining = Retaining(archive, Retention(ages=(ModelRule("*", DAY),)), numbers, nobody)
    assert retaining.step().is_more
    assert not retaining.step().is_more
    shown = numbers.exposition().decode()
    assert "infertap_storage_expired_total 1.0" in shown
    (told,) = [line for line in shown.splitlines() if line.startswith("infertap_storage_archive_bytes ")]
    assert float(told.split()[1]) == archive.usage().disk_bytes
    assert archive.get(making.record(1).call_id) is None
    assert archive.get(making.record(2).call_id) is not None
    archive.close()


async def nobody() -> None:
    """Is told."""
    raise AssertionError("nothing was forgotten")


class Failing:
    """An archive whose disk is full, for a while."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_done = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def expire(self, retention: Retention, now_ns: int) -> Expired:
        self.asked += 1
        if self.asked < 3:
            raise ArchiveError("disk full")
        self._loop.call_soon_threadsafe(self.is_done.set)
        return Expired()

    def usage(self) -> Usage:
        return Usage(1, 1, 0)


async def test_failures_are_tried_again() -> None:
    """The task goes on."""
    archive, numbers = Failing(), Numbers()
    task = asyncio.create_task(Retaining(archive, Retention(), numbers, nobody).run())  # type: ignore[arg-type]
    async with asyncio.timeout(20):
        await archive.is_done.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert "infertap_storage_failed_expiries_total 2.0" in numbers.exposition().decode()


class Forgetful(Failing):
    """An archive that set a file aside."""

    def expire(self, retention: Retention, now_ns: int) -> Expired:
        return Expired(has_forgotten=True)


async def test_what_was_forgotten_is_told() -> None:
    """When a file was set aside whoever tells spools hears of it."""
    told = asyncio.Event()

    async def tell() -> None:
        told.set()

    task = asyncio.create_task(Retaining(Forgetful(), Retention(), Numbers(), tell).run())  # type: ignore[arg-type]
    async with asyncio.timeout(20):
        await told.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


class Leased(Failing):
    """An archive that several keep."""

    def expire(self, retention: Retention, now_ns: int) -> Expired:
        self.asked += 1
        return Expired()


class Notes:
    """Notes of an archive, which a lease is kept in."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}

    def put(self, kind: str, notes: dict[bytes, bytes]) -> None:
        self.kept |= notes

    def notes(self, kind: str, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for key, value in self.kept.items() if key > after)[:most]


async def test_one_of_several_does_it() -> None:
    """Of two processes over one archive that look at the same time one lets records expire."""
    notes = Notes()
    archives = [Leased(), Leased()]
    both = [
        Retaining(
            archive,  # type: ignore[arg-type]
            Retention(),
            Numbers(),
            nobody,
            Lease(notes, wait=lambda _: None, key=b"retention"),  # type: ignore[arg-type]
        )
        for archive in archives
    ]
    for _ in range(3):
        for each in both:
            each.step()
    assert [archive.asked for archive in archives] == [3, 0]
