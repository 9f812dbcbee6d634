"""Numbers of cards in rows of digits."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.recorder.redaction.aadhaar import aadhaar_spans, is_aadhaar
from sidecar.recorder.redaction.cards import card_spans
from sidecar.recorder.redaction.checks import is_card_number
from sidecar.recorder.redaction.digit_lanes import within_reason

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


@pytest.mark.parametrize("place", [0, 1, 150, 299, 7000])
def test_card_in_long_row(place: int) -> None:
    """Of a row of thousands of groups that are no card's the card alone is found."""
    groups = ["1234"] * 8000
    assert list(card_spans(" ".join(groups).encode())) == []
    groups.insert(place, VISA)
    row = " ".join(groups).encode()
    assert list(card_spans(row)) == [(5 * place, 5 * place + 19)]


@given(st.lists(st.sampled_from([VISA, AMEX, "4111", "12", "\n", "x", ",", "123"]), max_size=9), st.data())
def test_card_in_lines(parts: list[str], data: st.DataObject) -> None:
    """In any text cards are found that stand alone, as each stretch of digits by itself tells."""
    separators = [data.draw(st.sampled_from([" ", "-", "\n", "", "  "])) for _ in parts]
    text = "".join(map("".join, zip(parts, separators, strict=True))).encode()
    pattern = re.compile(rb"(?<![0-9A-Za-z.])[0-9](?:[ -]?[0-9]){12,}")
    one_by_one = [
        (found.start() + start, found.start() + end)
        for found in pattern.finditer(text)
        for start, end in card_spans(found[0])
        if not re.match(rb"[0-9A-Za-z]|\.[0-9]", text[found.start() + end :])
    ]
    assert list(card_spans(text)) == one_by_one


def test_table_is_one_value() -> None:
    """Of a text of more values than may be told each by itself, long rows are told whole."""
    rows = b" ".join([VISA.encode()] * 1000)
    found = list(within_reason(rows + b"\n" + VISA.encode(), card_spans))
    assert found[:2] == [(0, 19), (20, 39)]
    assert found[512:] == [(512 * 20, len(rows)), (len(rows) + 1, len(rows) + 20)]


def number_of(first: str) -> str:
    """`first`, eleven digits, with a right check digit, in groups."""
    digits = next(each for each in (f"{first}{digit}" for digit in range(10)) if is_aadhaar(each.encode()))
    return f"{digits[:4]} {digits[4:8]} {digits[8:]}"


def test_row_of_indian_numbers() -> None:
    """Of a row each third group is asked, however long it is; of lines each begins a row."""
    number = number_of("23456789012")
    assert list(aadhaar_spans(f"{number} {number}".encode())) == [(0, 14), (15, 29)]
    assert list(aadhaar_spans(f"1111 {number}".encode())) == []
    for before in (30, 3000):
        row = f"{'1111 ' * before}{number}".encode()
        assert list(aadhaar_spans(row)) == [(5 * before, len(row))]
    lines = f"{number}\n{number}\n".encode()
    assert list(aadhaar_spans(lines)) == [(0, 14), (15, 29)]


@given(st.lists(st.from_regex(r"[0-9]{4}", fullmatch=True), min_size=1, max_size=12))
def test_indian_numbers_are_those_of_each_third_group(groups: list[str]) -> None:
    """By sums in lanes the same numbers are found as by trying each."""
    thirds = range(0, len(groups) - 2, 3)
    right = [
        at for at in thirds if groups[at] >= "2000" and is_aadhaar("".join(groups[at : at + 3]).encode())
    ]
    assert list(aadhaar_spans(" ".join(groups).encode())) == [(5 * at, 5 * at + 14) for at in right]
