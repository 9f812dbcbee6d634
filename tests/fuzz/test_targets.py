"""The fuzz targets take their seeds, and what is near them; `make fuzz` goes on from there."""

import random

import pytest

from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_their_neighbours(name: str) -> None:
    """Every seed passes, and so do the seeds with some of their bytes changed, taken out or doubled."""
    target = TARGETS[name]
    seeds = list(target.seeds())
    assert seeds
    source = random.Random(name)
    for seed in seeds:
        target.take(seed)
    for _ in range(100):
        target.take(_near(source, source.choice(seeds)))


def _near(source: random.Random, seed: bytes) -> bytes:
    data = bytearray(seed)
    for _ in range(source.randrange(1, 4)):
        place = source.randrange(len(data) + 1)
        act = source.randrange(3)
        if act == 0:
            data[place : place + 1] = bytes((source.randrange(256),))
        elif act == 1:
            del data[place : place + source.randrange(4)]
        else:
            data[place:place] = data[place : place + source.randrange(20)]
    return bytes(data)
