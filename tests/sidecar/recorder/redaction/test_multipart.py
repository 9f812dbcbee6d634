"""Bodies of several parts: each part by its name and type, written anew with the boundary as it was."""

import base64
import gzip
from collections.abc import Callable
from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import config
from sidecar.recorder.redaction import (
    Ends,
    Findings,
    Policy,
    RedactedBody,
    Redactor,
    Stretch,
    Withheld,
)

Make = Callable[..., Redactor]
BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
EMAIL = "ada@example.org"


def part(body: bytes | str, disposition: str = 'form-data; name="note"', **head: str) -> bytes:
    lines = [f"Content-Disposition: {disposition}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in head.items()]
    body = body.encode() if isinstance(body, str) else body
    return f"--{BOUNDARY}\r\n".encode() + "\r\n".join(lines).encode() + b"\r\n\r\n" + body + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def parts_of(body: RedactedBody) -> list[tuple[str | None, bytes]]:
    """Name and content of each part, as a reader of the standard library sees them."""
    message = message_from_bytes(f"Content-Type: {TYPE}\r\n\r\n".encode() + body.data)
    assert not message.defects
    return [
        (each.get_param("name", header="content-disposition"), each.get_payload(decode=True))
        for each in message.get_payload()
    ]


def test_parts_pass(redactor: Make) -> None:
    """Where nothing is found the parts are as they were."""
    data = form(part("a note\r\nin two lines"), part("b,c\n1,2\n", 'form-data; name="t"; filename="t.csv"'))
    assert redactor().body(TYPE, data, Findings()) == RedactedBody(data)


def test_each_part_by_its_type(redactor: Make) -> None:
    """Fields as text, JSON as JSON, files that are text as text; other files as opaque bodies."""
    data = form(
        part(f"mail {EMAIL}"),
        part('{"password": "hunter2", "m": "x"}', 'form-data; name="meta"', Content_Type="application/json"),
        part('{"password": "hunter2"}', 'form-data; name="bare"'),
        part(f"Bill {EMAIL}", 'form-data; name="f"; filename="bill.txt"', Content_Type="text/plain"),
        part(b"\x89PNG\r\n\x1a\n\0\0", 'form-data; name="i"; filename="i.png"', Content_Type="image/png"),
    )
    assert parts_of(redactor().body(TYPE, data, Findings())) == [
        ("note", b"mail <email>"),
        ("meta", b'{"password":"<secret>","m":"x"}'),
        ("bare", b'{"password":"<secret>"}'),
        ("f", b"Bill <email>"),
        ("i", b"<digested: 10 bytes>"),
    ]
    kept = parts_of(redactor(opaque_bodies="image/*=keep,digest").body(TYPE, data, Findings()))
    assert kept[-1] == ("i", b"\x89PNG\r\n\x1a\n\0\0")


def test_names_decide(redactor: Make) -> None:
    """Rules on fields name form fields; telling names mask their values."""
    data = form(
        part("Ada", 'form-data; name="patient"'),
        part("hunter2", 'form-data; name="password"'),
        part("12345678", 'form-data; name="account"'),
        part("gone", "form-data; name=dropped"),
        part("\xff".encode("latin-1"), 'form-data; name="scan"; filename="s"', Content_Type="image/png"),
    )
    rules = "patient=mask,account=last4,dropped=drop,scan=mask"
    findings = Findings()
    body = redactor(redact_fields=rules, opaque_bodies="keep").body(TYPE, data, findings)
    assert parts_of(body) == [
        ("patient", b"<field>"),
        ("password", b"<secret>"),
        ("account", b"<field:5678>"),
        ("scan", b"<field>"),
    ]
    assert {(each.kind, each.count) for each in findings.listed()} == {("field", 4), ("secret", 1)}


def test_heads_are_redacted(redactor: Make) -> None:
    """Names of fields and files are; other headers are left out."""
    data = form(
        part("x", f'form-data; name="{EMAIL}"; filename="{EMAIL}.txt"', X_Note=EMAIL),
        part("x", "form-data; name=\"a\"; filename*=UTF-8''ada%40example.org.txt"),
    )
    body = redactor().body(TYPE, data, Findings())
    assert body.withheld is None
    assert b"example" not in body.data
    assert b"X-Note" not in body.data


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("base64", base64.encodebytes(EMAIL.encode())), ("quoted-printable", b"ada=40example.org")],
)
def test_transfer_encodings(redactor: Make, encoding: str, body: bytes) -> None:
    """Are undone."""
    data = form(part(body, Content_Transfer_Encoding=encoding))
    assert parts_of(redactor().body(TYPE, data, Findings())) == [("note", b"<email>")]


def test_charsets(redactor: Make) -> None:
    """A part in UTF-16 is read as such, declared or not."""
    text = f"mail {EMAIL} now"
    data = form(
        part(text.encode("utf-16"), Content_Type="text/plain; charset=utf-16"), part(text.encode("utf-16-le"))
    )
    body = redactor().body(TYPE, data, Findings())
    assert b"a\0d\0a\0" not in body.data
    assert parts_of(body)[0] == ("note", b"mail <email> now")


def test_parts_within_a_part(redactor: Make) -> None:
    """A multipart part is taken apart too."""
    inner = f"--in\r\n\r\n{EMAIL}\r\n--in--\r\n"
    data = form(part(inner, Content_Type="multipart/mixed; boundary=in"))
    assert parts_of(redactor().body(TYPE, data, Findings()))
    assert EMAIL.encode() not in redactor().body(TYPE, data, Findings()).data


def test_cut(redactor: Make) -> None:
    """Of a body that was cut the parts that are whole remain; of one without a beginning nothing."""
    data = form(part("one"), part(f"mail {EMAIL}"))
    cut = redactor().body(TYPE, Stretch(data[:-70], Ends(closes=True)), Findings())
    assert parts_of(cut) == [("note", b"one")]
    opened = redactor().body(TYPE, Stretch(data, Ends(opens=True)), Findings())
    assert opened.withheld is Withheld.CUT


@pytest.mark.parametrize(
    "data",
    [
        part(EMAIL),
        form(f"--{BOUNDARY}\r\nContent-Disposition: form-data".encode()),
        form(part(EMAIL, 'form-data; name="a"; name="b"')),
        form(part(EMAIL, Content_disposition='form-data; name="other"')),
        form(*[part("x")] * 1100),
    ],
    ids=["no end", "no body", "two names", "two heads", "too many"],
)
def test_withheld(redactor: Make, data: bytes) -> None:
    """What two readers could read differently is withheld."""
    assert redactor().body(TYPE, data, Findings()).withheld is Withheld.MALFORMED


def test_not_as_it_says(redactor: Make) -> None:
    """A body without parts is read as text."""
    for content_type in (TYPE, "multipart/form-data"):
        assert redactor().body(content_type, f"mail {EMAIL}".encode(), Findings()).data == b"mail <email>"


REDACTOR = Redactor(Policy.of(config.read({}), b"key"))


@given(
    bodies=st.lists(st.one_of(st.binary(max_size=50), st.just(EMAIL.encode())), max_size=4),
    joins=st.lists(st.sampled_from([b"\r\n", b"\n", b"--", BOUNDARY.encode(), b""]), min_size=4, max_size=4),
)
def test_no_canary_survives(bodies: list[bytes], joins: list[bytes]) -> None:
    """However parts are put together, no value is in what is kept."""
    data = form(*(part(body + join + EMAIL.encode()) for body, join in zip(bodies, joins, strict=False)))
    assert b"ada@" not in REDACTOR.body(TYPE, data, Findings()).data


def test_compressed_files_are_opaque(redactor: Make) -> None:
    """A part that no rule can read is not kept."""
    data = form(part(gzip.compress(EMAIL.encode()), 'form-data; name="z"; filename="z.gz"'))
    assert parts_of(redactor().body(TYPE, data, Findings()))[0][1].startswith(b"<digested")
