"""Numbers of cards in rows of digits."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.recorder.redaction.cards import card_spans
from sidecar.recorder.redaction.checks import aadhaar_spans, is_aadhaar, is_card_number

VISA = "4111 1111 1111 1111"
AMEX = "3782 822463 10005"


def spelled_out(candidate: bytes) -> Iterator[tuple[int, int]]:
    """The same by trying each start and each end."""
    groups: list[tuple[int, int]] = []
    place = 0
    for part in candidate.replace(b"-", b" ").split(b" "):
        groups.append((place, place + len(part)))
        place += len(part) + 1
    first = 0
    while first < len(groups):
        ends = []
        digits = b""
        for number in range(first, len(groups)):
            start, end = groups[number]
            if end - start < 3:
                break
            digits += candidate[start:end]
            if 13 <= len(digits) <= 19 and is_card_number(digits):
                ends.append(number)
        yield from ((groups[first][0], groups[end][1]) for end in ends)
        first = ends[-1] + 1 if ends else first + 1


GROUPS = st.one_of(
    st.sampled_from([VISA, AMEX, VISA.replace(" ", "")]), st.from_regex(r"[0-9]{1,6}", fullmatch=True)
)


@given(st.lists(GROUPS, min_size=1, max_size=8), st.sampled_from(" -"))
def test_spans_are_those_of_every_start(groups: list[str], separator: str) -> None:
    """By sums over groups the same numbers are found as by trying each start and end."""
    candidate = separator.join(groups).encode()
    assert list(card_spans(candidate)) == list(spelled_out(candidate))


def test_row_of_cards() -> None:
    """Each card of a row is found, whatever numbers stand between them."""
    row = f"{VISA} 123 {AMEX} 99 {VISA}".encode()
    assert [row[start:end].decode() for start, end in card_spans(row)] == [VISA, AMEX, VISA]


@pytest.mark.parametrize("place", [0, 1, 150, 299])
def test_long_row_is_masked_whole(place: int) -> None:
    """A row of hundreds of groups is one value, where there is a card in it; and none where there is none."""
    groups = ["1234"] * 300
    assert list(card_spans(" ".join(groups).encode())) == []
    groups.insert(place, VISA)
    row = " ".join(groups).encode()
    assert list(card_spans(row)) == [(0, len(row))]


def test_row_of_indian_numbers() -> None:
    """Of a short row each number is told, of a long one with a right number the whole."""
    right = "2345 6789 0124"
    number = next(
        f"{right[:-1]}{digit}" for digit in range(10) if is_aadhaar(f"{right[:-1]}{digit}".encode())
    )
    row = f"{number} {number}".encode()
    assert list(aadhaar_spans(row)) == [(0, 14), (15, 29)]
    long = f"{number} {'1111 ' * 300}1111".encode()
    assert list(aadhaar_spans(long)) == [(0, len(long))]
    assert list(aadhaar_spans(long.replace(number.encode(), b"1111 1111 1111"))) == []
