"""What each class finds and what it leaves."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config import REDACTION_CLASSES
from sidecar.recorder.redaction import Findings, Redactor
from sidecar.recorder.redaction.classes import all_classes, shapes_of
from sidecar.recorder.redaction.scanner import Scanner

SCANNER = Scanner(shapes_of(frozenset(REDACTION_CLASSES)))

FOUND = {
    "email": [
        "ada@example.org",
        "Ada.Lovelace+x@mail.example.co.uk",
        "ada%40example.org",
        "jürgen@bücher.example",
    ],
    "payment_card": [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "378282246310005",
        "5555555555554444",
        "2223003122003222",
        "6011111111111117",
        "3530111333300000",
        "30569309025904",
        "6304000000000000",
    ],
    "iban": [
        "DE89370400440532013000",
        "GB82 WEST 1234 5698 7654 32",
        "FR1420041010050500013M02606",
        "no9386011117947",
    ],
    "us_ssn": ["078-05-1120", "219 09 9999"],
    "ipv4": ["192.168.1.20", "8.8.8.8", "255.255.255.255"],
    "ipv6": [
        "2001:db8::1",
        "fe80::1ff:fe23:4567:890a",
        "::ffff:192.0.2.1",
        "2001:0db8:0000:0000:0000:ff00:0042:8329",
    ],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"],
    "api_key": [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1B2" * 9,
        "xoxb-123456789012-abcdefghij",
        "sk-proj-" + "a1B2" * 8,
        "AIza" + "a1B2c" * 7,
        "sk_live_" + "a1" * 12,
        "dapi" + "0a1b" * 8,
        "123456789:AA" + "a1B-" * 8 + "x",
        "shpat_" + "0aF1" * 8,
        "hvs." + "a1B2" * 7,
    ],
    "private_key": ["-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"],
    "mac": ["00:1a:2b:3c:4d:5e", "00-1A-2B-3C-4D-5E", "001a.2b3c.4d5e"],
    # The numbers that the issuers or the standards give as examples.
    "us_itin": ["912-90-3456"],
    "ca_sin": ["123-456-782"],
    "br_cpf": ["390.533.447-05"],
    "mx_curp": ["BOXW310820HNERXN09"],
    "uk_nino": ["QQ 12 34 56 C".replace("QQ", "AB"), "AB123456C"],
    "es_dni": ["54362315K", "54362315-K", "X-2482300-W", "X2482300W"],
    "it_fiscal_code": ["RCCMNL83S18D969H"],
    "fr_nir": ["2 95 10 99 126 111 93", "295109912611193"],
    "de_tax_id": ["36 574 261 809"],
    "be_nrn": ["85.07.30-033.28"],
    "se_pin": ["880320-0016", "19880320-0016"],
    "fi_hetu": ["131052-308T"],
    "no_fnr": ["15108695088", "151086 95088"],
    "dk_cpr": ["211062-5629"],
    "ch_ahv": ["756.9217.0769.85"],
    "in_aadhaar": ["2341 2341 2346"],
    "in_pan": ["ACUPA7085R"],
    "cn_resident_id": ["360426199101010071"],
    "kr_rrn": ["971013-9019902"],
    "sg_nric": ["S1234567D", "G1234567X"],
    "za_id": ["7503305044089"],
    "phone": [
        "+49 30 901820",
        "+14155552671",
        "(415) 555-2671",
        "415-555-2671",
        "0049 30 901820",
        "030 901820-12",
    ],
}

CLEAN = [
    "2026-11-21T05:14:06.123456Z",
    "1732166046123456789",
    "1732166046",
    "3f2b8c9e-5a1d-4e7f-9b3a-2c6d8e0f1a2b",
    "0.3333333333333333",
    "-122.41941550000001",
    "5.1, 3.5, 1.4, 0.2",
    "[4.111111111111111, 5.5555555555554444]",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "std::vector<int>::iterator",
    "12:34:56",
    "version 1.24.3, python 3.11.7",
    "order 4111111111111112",
    "a @ b, user@, @handle, x@y",
    "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000",
    "DE89370400440532013001",
    "sk-learn and sklearn, risk-averse",
    "the bearer of this letter",
    "max_tokens: 256, token count",
    "def f(x): return x[1:2] == 10 ** 16",
    "1,234,567,890,123,456",
    "300.1.2.3 and 1.2.3.4.5",
    "POST /v2/models/iris/infer HTTP/1.1",
    "eyJ only looks like one",
]


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in FOUND.items() for value in values]
)
@pytest.mark.parametrize("around", ["{}", "say {}.", "x={}&y=1", '"{}"', "({}),", "\n{}\t", "né {} ü"])
def test_found(kind: str, value: str, around: str) -> None:
    """A value is found whole, wherever it stands."""
    data = around.format(value).encode()
    [span] = SCANNER.spans(data)
    assert (span.kind, data[span.start : span.end]) == (kind, value.encode())


@pytest.mark.parametrize("text", CLEAN)
def test_left(text: str) -> None:
    """What only resembles personal data stays."""
    assert SCANNER.spans(text.encode()) == []


def test_bearer() -> None:
    """The token after the scheme is found, the scheme stays."""
    data = b"Authorization: Bearer abc123def456"
    [span] = SCANNER.spans(data)
    assert (span.kind, data[span.start : span.end]) == ("bearer", b"abc123def456")


@pytest.mark.parametrize(
    "text", ["password = hunter22", '"api_key": "abcdef"', "client_secret=xyzzyx&a=b", "pwd:'secret'"]
)
def test_named_secrets(text: str) -> None:
    """What stands after a telling name is a secret, whatever it looks like."""
    assert [span.kind for span in SCANNER.spans(text.encode())] == ["api_key"]


def test_card_among_other_digits() -> None:
    """A card number is found in a run of grouped digits that holds more than the card."""
    data = b"pos 17 4111 1111 1111 1111 09 2031"
    [span] = SCANNER.spans(data)
    assert data[span.start : span.end] == b"4111 1111 1111 1111"


def test_neighbours() -> None:
    """Values that stand next to each other are each found."""
    data = b"ada@example.org,bob@example.org;4111111111111111 5555555555554444|8.8.8.8,9.9.9.9"
    assert [span.kind for span in SCANNER.spans(data)] == ["email"] * 2 + ["payment_card"] * 2 + ["ipv4"] * 2


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("passport", "My passport number is C01X00T47.", "C01X00T47"),
        ("passport", '"passport_no": "123456789"', "123456789"),
        ("passport", "Reisepass-Nr. L8987005C", "L8987005C"),
        ("birth_date", "born on 4 March 1985 in Oslo", "4 March 1985"),
        ("birth_date", "DOB: 03/04/1985", "03/04/1985"),
        ("birth_date", '"date_of_birth": "1985-03-04"', "1985-03-04"),
        ("birth_date", "Geburtsdatum: 4.3.1985", "4.3.1985"),
        ("birth_date", "March birthday March 4, 1985", "March 4, 1985"),
        ("url_credential", "postgres://app:s3cret@db:5432/x", "app:s3cret"),
        ("uk_nhs", "NHS number: 943 476 5870", "943 476 5870"),
        ("pl_pesel", "PESEL 44051401359", "44051401359"),
        ("nl_bsn", "BSN: 111222333", "111222333"),
        ("au_tfn", "tax file number 123 456 782", "123 456 782"),
        ("ca_sin", "Social Insurance Number: 123 456 782", "123 456 782"),
        ("br_cpf", "CPF 39053344705", "39053344705"),
        ("in_aadhaar", "aadhaar: 234123412346", "234123412346"),
        ("street_address", "lives at 12 Main Street, Apt 4 since", "12 Main Street, Apt 4"),
        ("street_address", "wohnt Hauptstraße 12a in", "Hauptstraße 12a"),
        ("street_address", "habite 12 rue de la Paix, Paris", "12 rue de la Paix"),
    ],
)
def test_found_by_the_words_before_it(kind: str, text: str, value: str) -> None:
    """What its form alone would not tell is found where words say what it is, and nothing but it."""
    data = text.encode()
    found = [(span.kind, data[span.start : span.end].decode()) for span in SCANNER.spans(data)]
    assert found == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "the passport office opens at 9",
        "00100969-edac-4fbb-b21a-dbb25c7f12e1 41111111-1111-4111-8111-111111111111",
        "order 44051401359, invoice 111222333, ticket 123456782",
        "released on 1985-03-04, version 2024.01.02",
        "born to run, dob",
        "http://example.org:8080/path and scheme://host/a:b",
        "build 12 Main, the street, 4 ways",
        "AB123456 is a part, X2482300 another",
        "dapi is short, key-value, sk-learn, secret_name",
    ],
)
def test_left_without_words_that_tell(text: str) -> None:
    """Numbers and words without what makes them personal data are left."""
    assert SCANNER.spans(text.encode()) == []


def test_every_class_has_a_shape() -> None:
    """The names that the settings offer are those that something looks for."""
    assert all_classes() == set(REDACTION_CLASSES)


def test_a_card_number_before_other_digits() -> None:
    """Digits that would make a longer number, but belong to a word, don't hide the shorter one."""
    assert [(span.start, span.end) for span in SCANNER.spans(b"3530111333300000 357a")] == [(0, 16)]


def test_only_chosen_classes() -> None:
    """A class that isn't chosen finds nothing; with none chosen nothing is looked for."""
    data = b"ada@example.org 8.8.8.8"
    assert [span.kind for span in Scanner(shapes_of({"ipv4"})).spans(data)] == ["ipv4"]
    assert Scanner(()).spans(data) == []


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Whatever the bytes: spans are in order, inside the data, and don't overlap."""
    end = 0
    for span in SCANNER.spans(data):
        assert end <= span.start < span.end <= len(data)
        end = span.end


@given(
    st.text("abc 0123456789.-@:/", max_size=40),
    st.sampled_from([(kind, value) for kind, values in FOUND.items() for value in values if kind != "phone"]),
    st.text("abc 0123456789.-@:/", max_size=40),
)
def test_planted_value_is_covered(before: str, planted: tuple[str, str], after: str) -> None:
    """Between any two texts, set apart by a space, a value does not survive (phones may run on)."""
    data = f"{before} {planted[1]} {after}".encode()
    left = bytearray(data)
    for span in SCANNER.spans(data):
        left[span.start : span.end] = b"\0" * (span.end - span.start)
    start = len(before.encode()) + 1
    assert bytes(left[start : start + len(planted[1].encode())]) != planted[1].encode()


@pytest.mark.parametrize("ahead", ["...", "card.", "(as said).", "see...  "])
@pytest.mark.parametrize(
    "value",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "DE89 3704 0044 0532 0130 00",
        "123-45-6789",
        "192.168.1.17",
        "2001:db8::1",
        "00:1b:44:11:3a:b7",
        "+49 170 1234567",
    ],
)
def test_value_after_full_stop(redactor: Callable[..., Redactor], ahead: str, value: str) -> None:
    """A full stop or dots before a value hide nothing, also among many numbers."""
    for more in ("", "; 1.4111111111111111, 4111 1111 1111 1112" * 30):
        text = redactor().text(f"{ahead}{value}{more}", "body", Findings())
        assert value not in text.removesuffix(more)
        assert text.endswith(more)


@pytest.mark.parametrize(
    "text",
    [
        "0.4111111111111111",
        ".4111111111111111",
        "1.2.4111111111111111",
        "v1.192.168.1.1",
        "-.4111111111111111",
    ],
)
def test_fraction_is_no_value(redactor: Callable[..., Redactor], text: str) -> None:
    """What follows the point of a number is no number by itself, alone or among many."""
    for many in (text, f"{text}\n" * 40):
        assert redactor().text(many, "body", Findings()) == many


@pytest.mark.parametrize(
    "number",
    [
        "4.111111111111111e15",
        "4.111111111111111E+15",
        "4111111111111111e0",
        "-4111111111111111",
        "4111111111111111.0",
    ],
)
def test_card_as_a_number(redactor: Callable[..., Redactor], number: str) -> None:
    """A card's number is found in JSON in whatever form of a number it is written."""
    for document in (f'{{"a":{number}}}', f'{{"a":[0.5,{number}]}}'):
        kept = redactor().body("application/json", document.encode(), Findings())
        assert json.loads(kept.data) in ({"a": 0}, {"a": [0.5, 0]})


@pytest.mark.parametrize(
    "text", ["4.111111111111111e14", "4e15", "1e5", "4.1111e15", "4.111111111111112e15", "9e99"]
)
def test_other_floats_are_no_cards(redactor: Callable[..., Redactor], text: str) -> None:
    """A number with an exponent is a card's only where it is whole and its check digit right."""
    assert redactor().text(text, "body", Findings()) == text


def test_short_account_number(redactor: Callable[..., Redactor]) -> None:
    """A number that is too short for its country, spaces not counted, is none, whatever its checksum."""
    for number in range(200):
        text = f"FR{number % 97:02d} 3704 0044 0532 0130 00{number:03d}"
        body = redactor().body("text/plain", f"to {text}, now".encode(), Findings())
        assert body.withheld is None
        assert text.encode() in body.data
