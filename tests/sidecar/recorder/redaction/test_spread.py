"""Values that are spread over pieces of text are masked whole, whatever the pieces look like alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config import REDACTION_CLASSES
from sidecar.recorder.redaction.classes import shapes_of
from sidecar.recorder.redaction.finder import Finder
from sidecar.recorder.redaction.findings import Findings
from sidecar.recorder.redaction.masks import Masks
from sidecar.recorder.redaction.scanner import Scanner
from sidecar.recorder.redaction.spread import spans_over
from sidecar.recorder.redaction.text import TextRedaction

SCANNER = Scanner(shapes_of(frozenset(REDACTION_CLASSES)))
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"


def redact(*pieces: str) -> list[str]:
    return TextRedaction(Finder(SCANNER), Masks({}, None)).joined(pieces, "body", Findings())


@pytest.mark.parametrize(
    ("pieces", "redacted"),
    [
        (("mail ada@exam", "ple.org now"), ["mail <email>", " now"]),
        # The second piece looks like a whole address.
        (("mail ada.love", "lace@example.org now"), ["mail <email>", " now"]),
        (("a", "d", "a", "@", "b", ".", "org"), ["<email>", "", "", "", "", "", ""]),
        # The first is one: what follows need not belong to it.
        (("mail ada@example.org", "x"), ["mail <email>", "x"]),
        (("a@b.org", "c@d.org", "e@f.org"), ["<email>", "<email>", "<email>"]),
        (("x@y.org", "ada.love", "lace@z.org"), ["<email>", "<email>", ""]),
        (("x@y.org", "ada.lovelace@z.org"), ["<email>", "<email>"]),
        # The rest of a secret is one too.
        ((JWT[:30], JWT[30:] + " end"), ["<jwt>", "<jwt> end"]),
        (("sk-0123456789abcdefghij", "klmnopqrstuvwxyz"), ["<api_key>", "<api_key>"]),
        # Joined, the digits are no card number; the first piece is.
        (("4111 1111 1111 1111", "22"), ["<payment_card>", "22"]),
        (("4111 1111", " 1111 1111"), ["<payment_card>", ""]),
        (("nothing ", "here"), ["nothing ", "here"]),
        (("", "ada@example.org", ""), ["", "<email>", ""]),
        ((), []),
    ],
)
def test_spread(pieces: tuple[str, ...], redacted: list[str]) -> None:
    """Masked where it begins, cut out of the pieces that it goes on in."""
    assert redact(*pieces) == redacted


@given(st.lists(st.text("ad@.or g4x1-", max_size=9), max_size=6))
def test_nothing_that_either_finds_is_left(pieces: list[str]) -> None:
    """What is found in the pieces joined, or in one, is covered, but for what follows a whole address."""
    encoded = [piece.encode() for piece in pieces]
    covered = {place for span in spans_over(SCANNER, encoded) for place in range(span.start, span.end)}
    start = 0
    for piece in encoded:
        for span in SCANNER.spans(piece):
            assert covered >= set(range(start + span.start, start + span.end))
        start += len(piece)
    for span in SCANNER.spans(b"".join(encoded)):
        if span.kind != "email":
            assert covered >= set(range(span.start, span.end))
        # Its local part, up to the @, is never left.
        at = b"".join(encoded).find(b"@", span.start)
        assert covered >= set(range(span.start, min(at, span.end)))


def test_many_values_are_found_in_no_time() -> None:
    """Time grows with the text, not with its square: this would otherwise take minutes."""
    pieces = [b"mail ada@example.org" if number % 2 else b"+49 30 1234567" for number in range(40_000)]
    assert len(spans_over(SCANNER, pieces)) == 40_000
