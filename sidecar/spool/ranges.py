"""Ranges of sequences, both ends inclusive: arithmetic on lists of them. Pure.

A list is *tidy* when it ascends and no two of its ranges touch. All functions return tidy lists.
"""

from collections.abc import Iterable

Range = tuple[int, int]


def tidy(ranges: Iterable[Range]) -> list[Range]:
    """Any ranges, sorted and merged; empty ones (last before first) are dropped."""
    merged: list[Range] = []
    for first, last in sorted(each for each in ranges if each[0] <= each[1]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def subtract(ranges: list[Range], taken: list[Range]) -> list[Range]:
    """What of tidy `ranges` is not in tidy `taken`."""
    left: list[Range] = []
    position = 0
    for first, last in ranges:
        start = first
        while position < len(taken) and taken[position][1] < start:
            position += 1
        ahead = position
        while ahead < len(taken) and taken[ahead][0] <= last:
            if taken[ahead][0] > start:
                left.append((start, taken[ahead][0] - 1))
            start = taken[ahead][1] + 1
            ahead += 1
        if start <= last:
            left.append((start, last))
    return left


def intersect(ranges: list[Range], others: list[Range]) -> list[Range]:
    """What tidy `ranges` and tidy `others` share."""
    return subtract(ranges, subtract(ranges, others))


def clip(ranges: Iterable[Range], low: int, high: int) -> list[Range]:
    """What of the ranges lies within `low` to `high`."""
    return tidy((max(first, low), min(last, high)) for first, last in ranges)
