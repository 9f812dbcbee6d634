"""File damage: bits that flip, a file that is cut while it is in use, one of another version."""

import contextlib
import gzip
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infertap.client import ClientError
from sidecar.spool import Spool
from sidecar.spool.tables import DATA_FILE
from tests.faults import spool_writer
from tests.faults.settling import settle
from tests.journeys.conftest import await_true

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Sidecar, Storage
    from tests.journeys.link import Link

    StartSidecar = Callable[..., Sidecar]
    StartStorage = Callable[..., Storage]

pytestmark = pytest.mark.faults

DAMAGES = 60
# Of an engine's file: after three headers, blocks of one size.
_FIRST_BLOCK = 3 * 4096
# A damaged page may kill who looks at it; after so many unclean ends the file is checked before it is opened.
STARTS = 6
_CHECK = """
import sys
from pathlib import Path
from tests.faults import spool_writer
spool_writer.check(Path(sys.argv[1]), 0, is_lossy=True)
"""


def written(directory: Path, batches: int) -> None:
    """A spool with some records, closed in order."""
    command = [sys.executable, "-m", "tests.faults.spool_writer", str(directory), "--batches", str(batches)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)


def flip(file: Path, rng: random.Random) -> None:
    """Flip a few bits anywhere, or make rubbish of a page."""
    content = bytearray(file.read_bytes())
    if rng.random() < 0.3:
        page = rng.randrange(len(content) // 4096)
        content[page * 4096 : (page + 1) * 4096] = rng.randbytes(4096)
    for _ in range(rng.randrange(1, 9)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def test_flipped_bits_are_counted_or_the_file_is_set_aside_and_nothing_false_is_served(
    tmp_path: Path,
) -> None:
    """Whatever a disk makes of the file: after a few starts there is a spool whose every record is right."""
    original = tmp_path / "original"
    written(original, 40)
    rng = random.Random(7)
    found: dict[str, int] = {"sound": 0, "counted": 0, "set aside": 0}
    for turn in range(DAMAGES):
        directory = tmp_path / f"damaged-{turn}"
        shutil.copytree(original, directory)
        flip(directory / DATA_FILE, rng)
        for _ in range(STARTS):
            command = [sys.executable, "-c", _CHECK, str(directory)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            if done.returncode == 0:
                break
            assert done.returncode < 0, f"not by a signal: {done.stderr}"
        assert done.returncode == 0, done.stderr
        spool = Spool.open(directory, spool_writer.QUOTA_BYTES, ring=False)
        corrupt = spool.account().corrupt
        spool.close()
        is_aside = bool(list(directory.glob("aside-*")))
        found["set aside" if is_aside else "counted" if corrupt else "sound"] += 1
        shutil.rmtree(directory)
    assert found["counted"] > 0, found
    assert found["set aside"] > 0, found


def test_file_cut_while_it_is_used_costs_a_recorder_and_no_call(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls", link: "Link"
) -> None:
    """The recorder may die of SIGBUS; clients notice nothing, and a new spool begins that is sent on."""
    sidecar = start_sidecar(calls.model, storage=link.address)
    data = Path(sidecar.environ["INFERTAP_SPOOL_DIR"]) / DATA_FILE
    with calls.under_way(sidecar, pause=0.002):
        await_true(lambda: sidecar.account()["hand_over"]["appended"] > 200, "it records")
        with data.open("r+b") as file:
            file.truncate(data.stat().st_size // 3)
        await_true(lambda: sidecar.events("spool_set_aside"), "the file is set aside")
        calls.await_answers(100)
        assert sidecar.is_ready()
    storage = start_storage()
    link.storage = storage.address
    account = settle(sidecar, storage, calls, is_set_aside=True)
    assert account["calls"]["seen"] == len(calls.answered)
    assert account["spool"]["acked"] > 0


def spoil_records(archive: Path) -> None:
    """Flip a bit where the engine has put its records, which no start reads."""
    import duckdb

    for file in archive.glob("records-*.duckdb"):
        with duckdb.connect(str(file), read_only=True) as connection:
            query = "SELECT block_id FROM pragma_storage_info('records') WHERE column_name = 'record'"
            blocks = [block for (block,) in connection.execute(query).fetchall() if block >= 0]
            sizes = connection.execute("SELECT block_size FROM pragma_database_size()").fetchone()
        assert sizes is not None
        content = bytearray(file.read_bytes())
        for block in blocks:
            content[_FIRST_BLOCK + block * sizes[0] + 2000] ^= 1
        file.write_bytes(content)


def test_file_of_storage_that_proves_damaged_is_filled_by_the_sidecars_that_are_connected(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls"
) -> None:
    """Records rot on storage's disk; once anything has met that, sidecars send what they retain, unasked."""
    storage = start_storage()
    sidecar = start_sidecar(calls.model, storage=storage.address)
    calls.make(sidecar, 100)
    sidecar.await_account(lambda each: each["spool"]["acked"] == 100)
    assert storage.stop() == 0
    spoil_records(storage.archive)
    storage = start_storage(storage.archive, storage_listen=storage.address)
    calls.make(sidecar, 20)
    sidecar.await_account(lambda each: each["spool"]["acked"] == 120, 60)

    def is_whole() -> bool:
        with contextlib.suppress(ClientError):
            return len(storage.records()) == 120
        return False

    await_true(is_whole, "what was lost is there again")
    assert "archive file set aside" in storage.log_path.read_text()
    settle(sidecar, storage, calls)


@pytest.mark.parametrize("version", [0, 2])
def test_spool_of_another_format_is_set_aside_and_a_new_one_begun(
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    calls: "Calls",
    tmp_path: Path,
    version: int,
) -> None:
    """A format that this version does not know is set aside as it is; recording begins anew."""
    directory = tmp_path / "old"
    written(directory, 5)
    of_version(directory, version)
    storage = start_storage()
    sidecar = start_sidecar(calls.model, storage=storage.address, spool_dir=str(directory))
    calls.make(sidecar, 30)
    (aside,) = await_true(lambda: sidecar.events("spool_set_aside"), "the file is set aside")
    assert f"format version {version}" in aside["reason"]
    account = settle(sidecar, storage, calls)
    assert account["spool"]["acked"] == 30


def of_version(directory: Path, version: int) -> None:
    """Make the books say that they are of this version, and nothing else wrong."""
    import lmdb

    from sidecar.spool import books

    env = lmdb.open(str(directory), max_dbs=8, map_size=spool_writer.QUOTA_BYTES)
    with env.begin(write=True) as txn:
        meta = env.open_db(b"meta", txn)
        body = txn.get(b"books", db=meta)[8:]
        checksum = books.crc32(version.to_bytes(4) + body)
        txn.put(b"books", checksum.to_bytes(4) + version.to_bytes(4) + body, db=meta)
    env.close()


def test_spool_of_the_first_format_stays_readable(tmp_path: Path) -> None:
    """A file that an earlier version left, kept in golden/, is opened with all that it held."""
    directory = tmp_path / "spool"
    directory.mkdir()
    golden = Path(__file__).parent / "golden" / "spool-1.mdb.gz"
    (directory / DATA_FILE).write_bytes(gzip.decompress(golden.read_bytes()))
    assert spool_writer.check(directory, 17) == 17
    assert list(directory.glob("aside-*")) == []
