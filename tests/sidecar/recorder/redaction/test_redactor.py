"""Headers, queries and other strings of a record."""

from collections.abc import Callable
from urllib.parse import parse_qsl

import pytest

from sidecar.recorder.redaction import Finding, Findings, Redactor
from sidecar.recorder.redaction.redactor import is_credential_header

MakeRedactor = Callable[..., Redactor]


def test_headers_that_may_be_kept(redactor: MakeRedactor) -> None:
    """Only listed headers are kept, by their names in lower case; what they hold is redacted."""
    findings = Findings()
    fields = [(b"Host", b"10.1.2.3:80"), (b"X-Other", b"x"), (b"User-Agent", b"curl (ada@example.org)")]
    assert redactor().headers(fields, "header", findings) == [
        ("host", "<ipv4>:80"),
        ("user-agent", "curl (<email>)"),
    ]
    assert findings.listed() == [
        Finding("ipv4", "header:host", 1),
        Finding("email", "header:user-agent", 1),
    ]


def test_credentials_are_never_kept(redactor: MakeRedactor) -> None:
    """A credential is masked even where the settings ask for its header and switch redaction off."""
    made = redactor(record_headers="authorization,x-my-token,cookie", redact="none")
    fields = [(b"Authorization", b"Bearer abc"), (b"X-My-Token", b"t"), (b"Cookie", b"a=b")]
    assert [value for _, value in made.headers(fields, "header", Findings())] == ["<credential>"] * 3


CREDENTIALS = ["x-api-key", "x-amz-security-token", "proxy-authorization", "x-session-id", "set-cookie"]
OTHERS = ["content-type", "x-request-id", "traceparent", "user-agent", "accept"]


@pytest.mark.parametrize(
    ("name", "is_credential"), [(name, True) for name in CREDENTIALS] + [(name, False) for name in OTHERS]
)
def test_credential_names(name: str, is_credential: bool) -> None:
    """Names that mean a credential are told from those that don't."""
    assert is_credential_header(name) is is_credential


def test_query(redactor: MakeRedactor) -> None:
    """Parameters are decoded before they are looked at; telling names hide their values; the rest stays."""
    made = redactor()
    redacted = made.query(b"user=ada%40example.org&token=abc&n=1&s=%2Fa", Findings())
    assert parse_qsl(redacted) == [("user", "<email>"), ("token", "<secret>"), ("n", "1"), ("s", "/a")]
    assert made.query(b"a=%20b&c", Findings()) == "a=%20b&c"
    assert made.query(b"ada%2540example.org", Findings()) == "<email>="


def test_text(redactor: MakeRedactor) -> None:
    """Percent-encoding hides nothing, once or twice; what is no UTF-8 is shown as replacement."""
    made = redactor()
    assert made.raw(b"/users/ada%40example.org", "path", Findings()) == "/users/<email>"
    assert made.raw(b"/users/ada%2540example.org", "path", Findings()) == "/users/<email>"
    assert made.raw(b"/a%20b", "path", Findings()) == "/a%20b"
    assert made.raw(b"\xff", "path", Findings()) == "�"
    assert made.text("\ud800", "path", Findings()) == "?"


def test_keyed_hash(redactor: MakeRedactor) -> None:
    """The same value gives the same hash with the same key, and none without a key."""
    made = redactor(b"one")
    assert (
        made.keyed_hash(b"ada") == redactor(b"one").keyed_hash(b"ada") != redactor(b"two").keyed_hash(b"ada")
    )
    assert made.keyed_hash(b"") == ""
    assert redactor(None).keyed_hash(b"ada") == ""


def test_policy_version(redactor: MakeRedactor) -> None:
    """The version changes with whatever changes what is redacted, and with nothing else."""
    version = redactor().policy.version
    assert version == redactor(sample_rate="0.5").policy.version
    others = [
        {"redact": "none"},
        {"redact_fields": "a=drop"},
        {"opaque_bodies": "keep"},
        {"record_headers": "a"},
    ]
    versions = {redactor(**each).policy.version for each in others} | {redactor(None).policy.version}
    assert version not in versions
    assert len(versions) == 5


def test_a_single_credential_is_masked_wherever_it_is_shown(redactor: Callable[..., Redactor]) -> None:
    """A header that holds a credential is masked whatever it looks like, also as business context."""
    findings = Findings()
    shown = redactor().header("cookie", b"a=b", "context", findings)
    assert shown == "<credential>"
    assert findings.total == 1


def test_headers_by_rule(redactor: MakeRedactor) -> None:
    """A rule can name a header: its value is hashed, masked, cut to its last four, or dropped."""
    names = "x-a,x-b,x-c,x-d"
    rules = "header:X-A=hash,header:x-b=mask,header:x-c=last4,header:x-d=drop"
    made = redactor(b"a key of 16 bytes", record_headers=names, redact_fields=rules)
    fields = [(b"X-A", b"v"), (b"x-b", b"v"), (b"x-c", b"12345678"), (b"x-d", b"v")]
    values = dict(made.headers(fields, "header", Findings()))
    assert values == {"x-a": made.keyed_hash(b"v"), "x-b": "<field>", "x-c": "<field:5678>", "x-d": ""}
