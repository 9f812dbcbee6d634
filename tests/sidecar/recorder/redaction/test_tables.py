"""CSV: columns by their names, everything as text."""

from collections.abc import Callable

import pytest

from sidecar.recorder.redaction import Ends, Findings, Redactor, Stretch, Withheld

Make = Callable[..., Redactor]


def redacted(redactor: Redactor, text: str, content_type: str = "text/csv") -> str:
    body = redactor.body(content_type, text.encode(), Findings())
    assert body.withheld is None
    return body.data.decode()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_pass(redactor: Make, end: str) -> None:
    """What nothing is found in stays as it was, whatever its dialect."""
    text = end.join(['a,"b ""c""",d', "1.5,x,", '2,"y\nz",3', ""])
    assert redacted(redactor(redact_fields="other=mask"), text) == text


def test_columns_by_rules(redactor: Make) -> None:
    """A rule on fields names a column: masked, cut to its last four, dropped with its name."""
    text = 'id,name,account,note\n1,Ada,12345678,"a, b"\n2,,87654321,c\n'
    rules = "name=mask,$.account=last4,id=drop"
    assert redacted(redactor(redact_fields=rules), text) == (
        'name,account,note\n<field>,<field:5678>,"a, b"\n,<field:4321>,c\n'
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_columns_of_telling_names(redactor: Make, delimiter: str) -> None:
    """Names of secrets mask their column; words that announce a value help to find it."""
    text = "\n".join(
        delimiter.join(row)
        for row in [("user", "api_key", "date_of_birth"), ("7", "x1", "1980-01-31"), ("8", "x2", "31.1.1980")]
    )
    expected = text.replace("x1", "<secret>").replace("x2", "<secret>")
    expected = expected.replace("1980-01-31", "<birth_date>").replace("31.1.1980", "<birth_date>")
    assert redacted(redactor(), text) == expected


def test_values_anywhere(redactor: Make) -> None:
    """Without names that tell, values are found as in any text."""
    text = "5.1,3.5,ada@example.org\n4.9,3.0,4111 1111 1111 1111\n"
    assert redacted(redactor(), text) == "5.1,3.5,<email>\n4.9,3.0,<payment_card>\n"


def test_rows_that_can_not_be_told_apart(redactor: Make) -> None:
    """Are withheld where a column is to be masked, else read as text."""
    text = 'name,password\n"Ada" x,"hunter2\n'
    body = redactor().body("text/csv", text.encode(), Findings())
    assert (body.data, body.withheld) == (b"", Withheld.MALFORMED)
    text = 'name,note\n"Ada" x,"ada@example.org\n'
    assert "<email>" in redacted(redactor(), text)


def test_rows_longer_than_the_names(redactor: Make) -> None:
    """Cells without a name are texts."""
    assert redacted(redactor(), "password\nx,ada@example.org\n") == "password\n<secret>,<email>\n"


def test_without_its_first_row(redactor: Make) -> None:
    """The rest of a table, whose names are elsewhere, is withheld; what was cut loses its last row."""
    text = b"user,password\n" + b"ada,hunter2\n" * 600
    opened = redactor().body("text/csv", Stretch(text, Ends(opens=True)), Findings())
    assert opened.withheld is Withheld.CUT
    both = redactor().body("text/csv", Stretch(text, Ends(closes=True), b"r2\nada,hunter2\n"), Findings())
    assert both.data.startswith(b"user,password\nada,<secret>\n")
    assert b"hunter" not in both.data
