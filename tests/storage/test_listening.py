"""How many descriptors storage asks for, and what it says where it can't have them."""

import resource

import pytest

from storage.listening import raise_descriptors

NONE = resource.RLIM_INFINITY
# What 10,000 sidecars take, with people, monitoring and the archive.
WANTED = 14_000


class Limits:
    """A process's limit, as the system has it."""

    def __init__(self, soft: int, hard: int, *, is_fixed: bool = False) -> None:
        self.soft, self.hard = soft, hard
        self.is_fixed = is_fixed

    def get(self, _: int) -> tuple[int, int]:
        return self.soft, self.hard

    def set(self, _: int, limits: tuple[int, int]) -> None:
        if self.is_fixed:
            raise ValueError("not allowed to raise maximum limit")
        self.soft, self.hard = limits


@pytest.mark.parametrize(
    ("limits", "lacking", "soft"),
    [
        (Limits(1024, 1 << 20), 0, WANTED),
        (Limits(1024, NONE), 0, WANTED),
        (Limits(1 << 20, 1 << 20), 0, 1 << 20),
        (Limits(NONE, NONE), 0, NONE),
        (Limits(1024, 4096), WANTED - 4096, 4096),
        (Limits(1024, 1 << 20, is_fixed=True), WANTED - 1024, 1024),
    ],
)
def test_descriptors(monkeypatch: pytest.MonkeyPatch, limits: Limits, lacking: int, soft: int) -> None:
    """The limit is raised as far as it may be, never lowered; what is lacking is told, and ends no start."""
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    assert raise_descriptors(10_000) == lacking
    assert limits.soft == soft
