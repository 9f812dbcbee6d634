"""Where patterns match: whole matches first, then groups; by two engines that agree."""

import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.recorder.redaction.classes import all_classes, shapes_of
from sidecar.recorder.redaction.locating import Pattern, options

SHAPES = shapes_of(all_classes())
VALUES = (
    "4111 1111 1111 1111",
    "123-45-6789",
    "+49 170 1234567",
    "0171/1234567",
    "(555) 123-4567",
    "192.168.0.1",
    "00:1b:44:11:3a:b7",
    "DE89 3704 0044 0532 0130 00",
    "2345 6789 0123",
    "ada@example.org",
    "password=hunter22",
    "born on 1.2.1999",
    "http://a:b@c/",
    "eyJhbGciOi.eyJzdWIiOiIx.c2ln",
    "-----BEGIN PRIVATE KEY-----",
    "01019912345",
    "a",
    "(",
    ".",
    "-",
    "1",
)


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(VALUES), max_size=12),
    st.sampled_from(["", " ", "\n", "-", ", "]),
    st.integers(1, 12),
)
def test_same_as_with_groups_at_once(values: list[str], between: str, times: int) -> None:
    """Each shape is found where its pattern with its group finds it, also among many."""
    data = (between.join(values) * times).encode()
    for shape in SHAPES:
        whole = re2.compile(shape.pattern.encode(), options())
        assert list(Pattern(shape).find(data)) == [found.span(1) for found in whole.finditer(data)], (
            shape.kind
        )


def test_many_close_to_each_other() -> None:
    """Where the other engine is asked, in windows, none is lost nor found twice."""
    values = [f"{100 + number % 800}-45-{1000 + number}" for number in range(3000)]
    gaps = " ".join(value + "." * (number % 700 == 0) * 9000 for number, value in enumerate(values)).encode()
    shape = next(shape for shape in SHAPES if shape.kind == "us_ssn")
    assert [gaps[start:end].decode() for start, end in Pattern(shape).find(gaps)] == values


def test_long_match_whose_words_are_ahead() -> None:
    """Of a match of any length what counts begins behind its words."""
    shape = next(shape for shape in SHAPES if "passw" in shape.pattern)
    data = b"the password = '" + b"x" * 100_000 + b"'"
    assert list(Pattern(shape).find(data)) == [(16, 100_016)]


def test_package_has_the_matcher_that_it_wraps() -> None:
    """google-re2 keeps its matcher to itself, which is used here for its speed. Where a new release has
    another, `locating.Pattern` is to be mended, or google-re2 to be held back.
    """
    matcher = re2.compile(rb"b(c)")._regexp
    assert matcher.Match(matcher.Anchor.UNANCHORED, b"abcd", 0, 4) == [(1, 3), (2, 3)]
    assert matcher.Match(matcher.Anchor.ANCHOR_BOTH, b"abcd", 1, 3)[1] == (2, 3)
    assert matcher.Match(matcher.Anchor.ANCHOR_START, b"abcd", 0, 4)[0] == (-1, -1)
