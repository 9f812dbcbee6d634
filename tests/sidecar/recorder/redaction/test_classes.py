"""What each class finds and what it leaves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config import REDACTION_CLASSES
from sidecar.recorder.redaction.classes import Scanner

SCANNER = Scanner(frozenset(REDACTION_CLASSES))

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
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    ],
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
    "00:1b:44:11:3a:b7",
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


def test_a_card_number_before_other_digits() -> None:
    """Digits that would make a longer number, but belong to a word, don't hide the shorter one."""
    assert [(span.start, span.end) for span in SCANNER.spans(b"3530111333300000 357a")] == [(0, 16)]


def test_only_chosen_classes() -> None:
    """A class that isn't chosen finds nothing; with none chosen nothing is looked for."""
    data = b"ada@example.org 8.8.8.8"
    assert [span.kind for span in Scanner(frozenset({"ipv4"})).spans(data)] == ["ipv4"]
    assert Scanner(frozenset()).spans(data) == []


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
