"""Whether the end is near, as the system tells it."""

from pathlib import Path

import pytest

from storage.memory import Memory

MIB = 1 << 20


def system(root: Path, limit: str, taken_kib: int, *, version: int = 2) -> Memory:
    """A system's files, as Linux writes them."""
    names = {2: "sys/fs/cgroup/memory.max", 1: "sys/fs/cgroup/memory/memory.limit_in_bytes"}
    for name, text in (
        (names[version], limit),
        ("proc/self/status", f"Name:\tx\nRssAnon:\t{taken_kib} kB\n"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Memory(root)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("taken", "is_short"), [(80, False), (90, True)])
def test_near_the_limit(tmp_path: Path, version: int, taken: int, is_short: bool) -> None:
    """Memory is short before the kernel ends the process."""
    assert system(tmp_path, f"{100 * MIB}\n", taken << 10, version=version).is_short == is_short


def test_no_limit(tmp_path: Path) -> None:
    """Where nothing limits it, or nothing is known, there is no shortage."""
    assert not Memory(tmp_path).is_short
    assert not system(tmp_path, "max\n", 1 << 40).is_short
    assert not system(tmp_path, "9223372036854771712\n", 1 << 40, version=1).is_short


def test_this_system() -> None:
    """The files of the system that this runs on can be read."""
    assert Memory().is_short in (True, False)
