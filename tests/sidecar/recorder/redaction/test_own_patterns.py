"""What own rules find, wherever it stands in a long text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.recorder.redaction.own_patterns import OwnPatterns
from sidecar.recorder.redaction.shapes import Shape
from sidecar.recorder.redaction.time_allowed import TimeAllowed

WINDOW = 32 << 10


def own(*patterns: str) -> OwnPatterns:
    """Those patterns as a site's own, named by their numbers."""
    shapes = [Shape(str(number), f"(?:{each})", f"(?P<it>{each})") for number, each in enumerate(patterns)]
    return OwnPatterns(shapes, TimeAllowed())


@pytest.mark.parametrize("edge", [WINDOW, 2 * WINDOW])
@pytest.mark.parametrize("before", [0, 1, 5, 9, 10, 11])
def test_value_at_the_edge_of_a_window(edge: int, before: int) -> None:
    """A value that one window cuts is found whole, and once."""
    data = b"." * (edge - before) + b"EMP-123456" + b"." * 50_000
    spans = list(own("EMP-[0-9]+").spans(data))
    assert [(span.start, span.end, span.value) for span in spans] == [
        (edge - before, edge - before + 10, b"EMP-123456")
    ]


def test_endless_value_is_found_in_pieces() -> None:
    """Nothing of a match that is longer than a window stays."""
    data = b"x" * 200_000
    spans = list(own("x+").spans(data))
    assert b"".join(span.value for span in spans) == data


def test_groups_of_their_own() -> None:
    """A pattern may have groups and alternatives; the whole of it is what is found."""
    spans = list(own("A(B|C)D|E").spans(b"ABD ACD E AD"))
    assert [span.value for span in spans] == [b"ABD", b"ACD", b"E"]


@given(st.lists(st.sampled_from([b"ab", b"b", b"a1", b" ", b"11"]), max_size=40))
def test_small_texts_and_large_ones_alike(pieces: list[bytes]) -> None:
    """Asked for all rules at once, or one by one, the same is found as by Python's engine."""
    patterns = ("ab+", "[0-9]{2}", "1a")
    data = b"".join(pieces)
    padding = b"." * 5000
    expected = [
        (str(number), found[0])
        for number, each in enumerate(patterns)
        for found in re.finditer(each.encode(), data)
    ]
    assert [(span.kind, span.value) for span in own(*patterns).spans(data)] == expected
    assert [(span.kind, span.value) for span in own(*patterns).spans(padding + data)] == expected
