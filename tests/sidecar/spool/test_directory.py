"""Who may use the directory, and what becomes of a file that was set aside."""

import os
import stat
from pathlib import Path

import pytest

from sidecar.spool import SpoolFailed, SpoolLocked
from sidecar.spool.directory import SpoolDirectory


def test_one_owner(directory: Path) -> None:
    """A directory in use is refused with the owner's process id, and free again after release."""
    owned = SpoolDirectory.claim(directory)
    with pytest.raises(SpoolLocked, match=str(os.getpid())):
        SpoolDirectory.claim(directory)
    owned.release()
    owned.release()
    SpoolDirectory.claim(directory).release()


def test_closed_to_others(directory: Path) -> None:
    """Nobody else may look inside, also when the directory was there before."""
    directory.mkdir(mode=0o755)
    SpoolDirectory.claim(directory).release()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in directory.glob("*.lock"))


def test_no_directory_to_be_had(tmp_path: Path) -> None:
    """A path that can't be one is SpoolFailed, and says why."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolFailed, match=r"INFERTAP_SPOOL_DIR: .*Not a directory"):
        SpoolDirectory.claim(tmp_path / "file" / "spool")


def test_unclean_ends(directory: Path) -> None:
    """After three unclean ends in a row the file is suspect; one clean end clears it."""
    owned = SpoolDirectory.claim(directory)
    assert [owned.begin_use() for _ in range(4)] == [True, True, True, False]
    owned.trust()
    assert owned.begin_use()
    (directory / "unclean-ends").write_text("junk")
    assert owned.begin_use()
    owned.release()


def test_no_room_for_its_own_count(directory: Path) -> None:
    """The count of unclean ends is a help; a disk that refuses it stops neither the start nor the rest."""
    owned = SpoolDirectory.claim(directory)
    (directory / "unclean-ends").mkdir()
    assert owned.begin_use()
    owned.trust()
    owned.release()


def test_set_aside(directory: Path) -> None:
    """What is set aside keeps its bytes until the room is needed, and only the newest is kept."""
    owned = SpoolDirectory.claim(directory)
    (directory / "data.mdb").write_bytes(b"older")
    owned.set_aside("data.mdb", "a test")
    (directory / "data.mdb").write_bytes(b"newest!")
    owned.set_aside("data.mdb", "a test")
    (aside,) = directory.glob("aside-*.mdb")
    assert aside.read_bytes() == b"newest!"
    assert owned.aside_bytes == 7
    assert not (directory / "data.mdb").exists()
    owned.release()
    again = SpoolDirectory.claim(directory)
    assert again.aside_bytes == 7
    again.make_room()
    assert (again.aside_bytes, list(directory.glob("aside-*"))) == (0, [])
    again.release()
