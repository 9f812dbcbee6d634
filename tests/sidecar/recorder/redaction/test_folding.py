"""Values written in other characters of the same meaning."""

from collections.abc import Callable

import pytest

from sidecar.recorder.redaction import Findings, Redactor


@pytest.mark.parametrize(
    ("written", "mask"),
    [
        ("\uff14" + "\uff11" * 15, "<payment_card>"),
        ("4111\u00a01111\u00a01111\u00a01111", "<payment_card>"),
        ("4111\u20111111\u20111111\u20111111", "<payment_card>"),
        ("41\u200b11111111111111", "<payment_card>"),
        ("219\u201309\u20139999", "<us_ssn>"),
        ("ada\uff20x.org", "<email>"),
    ],
)
def test_other_characters_hide_nothing(redactor: Callable[..., Redactor], written: str, mask: str) -> None:
    """Full-width digits, no-break spaces, typographic dashes and characters without width hide nothing."""
    body = redactor().body("application/json", f'{{"a":"{written} é"}}'.encode(), Findings())
    assert body.documents == ({"a": f"{mask} é"},)


def test_such_characters_stay_where_nothing_is_found(redactor: Callable[..., Redactor]) -> None:
    """A text in which nothing is found keeps its own characters, byte for byte."""
    data = '{"a":"３ cafés\u00a0– très bien，"}'.encode()
    assert redactor().body("application/json", data, Findings()).data == data
