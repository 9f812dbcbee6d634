"""The identities file: what it may say, and who is known by it."""

import contextlib
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertap.identity import Evidence, Identity, Refusal, Role, Roster, RosterError

TOKEN = "a-token-that-nobody-guesses"
OTHER = "another-token"


def hashed(token: str) -> str:
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def roster(text: str) -> Roster:
    return Roster.parse(text.encode())


TEAM = f"""
[[identity]]
name = "team-a-sidecars"
tenant = "team-a"
roles = ["ingest"]
tokens = ["{hashed(TOKEN)}", "{hashed(OTHER)}"]
certificates = ["uri:spiffe://x/ns/team-a/*", "dns:*.team-a.svc", "cn:Sidecar A", "email:a@example.com"]

[[identity]]
name = "auditor"
tenant = "*"
roles = ["read", "admin"]
certificates = ["dns:audit.example.com", "uri:spiffe://x/ns/team-a/audit"]
"""
SIDECARS = Identity("team-a-sidecars", "team-a", frozenset({Role.INGEST}))
AUDITOR = Identity("auditor", None, frozenset({Role.READ, Role.ADMIN}))


@pytest.mark.parametrize("token", [TOKEN, OTHER])
def test_tokens(token: str) -> None:
    """Every token of an identity is that identity's."""
    assert roster(TEAM).identify(Evidence(token)) == SIDECARS


@pytest.mark.parametrize("token", ["", TOKEN[:-1], TOKEN + " ", hashed(TOKEN), "\udc80", "x" * 5000])
def test_other_tokens(token: str) -> None:
    """Nobody is known by anything else, the hash itself included."""
    assert roster(TEAM).identify(Evidence(token)) is Refusal.UNKNOWN_TOKEN


@pytest.mark.parametrize(
    ("names", "known"),
    [
        ({("uri", "spiffe://x/ns/team-a/sa/model")}, SIDECARS),
        ({("dns", "Pod-1.team-a.svc")}, SIDECARS),
        ({("cn", "Sidecar A")}, SIDECARS),
        ({("email", "a@example.com")}, SIDECARS),
        ({("dns", "AUDIT.example.com")}, AUDITOR),
        ({("dns", "audit.example.com"), ("cn", "Sidecar A")}, SIDECARS),
    ],
)
def test_certificates(names: set[tuple[str, str]], known: Identity) -> None:
    """A certificate is known by any of its names; of several identities it is the first's in the file."""
    assert roster(TEAM).identify(Evidence(names=frozenset(names))) == known


@pytest.mark.parametrize(
    "name",
    [
        ("uri", "spiffe://x/ns/team-ab"),
        ("dns", "a.b.team-a.svc"),
        ("dns", "team-a.svc"),
        ("dns", ".team-a.svc"),
        ("cn", "sidecar a"),
        ("cn", "audit.example.com"),
        ("dns", "Sidecar A"),
        ("email", "A@example.com"),
    ],
)
def test_other_certificates(name: tuple[str, str]) -> None:
    """Names are exact in their kind, but for a star's own place."""
    assert roster(TEAM).identify(Evidence(names=frozenset({name}))) is Refusal.UNKNOWN_CERTIFICATE


def test_wrong_token_with_a_good_certificate() -> None:
    """A token that nobody has is not made good by a certificate."""
    evidence = Evidence("wrong", frozenset({("cn", "Sidecar A")}))
    assert roster(TEAM).identify(evidence) is Refusal.UNKNOWN_TOKEN


def test_nothing_shown() -> None:
    """Who shows nothing is told from who shows something wrong."""
    assert roster(TEAM).identify(Evidence()) is Refusal.NO_CREDENTIALS


def test_unnamed_tenant_and_rate() -> None:
    """Without a tenant it is the unnamed one; a rate of one's own is kept."""
    text = f'[[identity]]\nname="x"\nroles=["feedback"]\nfeedback_per_minute=7\ntokens=["{hashed(TOKEN)}"]'
    assert roster(text).identify(Evidence(TOKEN)) == Identity("x", "", frozenset({Role.FEEDBACK}), 7)


def identity(**fields: str) -> str:
    given = {"name": '"x"', "roles": '["read"]', "tokens": f'["{hashed(TOKEN)}"]'} | fields
    return "[[identity]]\n" + "\n".join(f"{name} = {value}" for name, value in given.items() if value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected 1 to"),
        ("other = 1\n" + identity(), "nothing else"),
        ("identity = 3", "expected 1 to"),
        ("[[identity]", "not TOML"),
        (identity(name=""), "name: expected"),
        (identity(name='"a b"'), "name: expected"),
        (identity(name="7"), "name: expected"),
        (identity() + "\n" + identity(), "a second 'x'"),
        (identity(tenant='"a/b"'), "tenant: expected"),
        (identity(tenant='"*"', roles='["ingest"]'), "one tenant, not"),
        (identity(tenant='"*"', roles='["read", "feedback"]'), "one tenant, not"),
        (identity(roles=""), "roles: expected"),
        (identity(roles='["root"]'), "roles: expected"),
        (identity(roles='"read"'), "roles: expected a list"),
        (identity(tokens=""), "neither tokens nor certificates"),
        (identity(tokens='["secret-in-the-clear"]'), "tokens: expected sha256:"),
        (identity(tokens=f'["{hashed(TOKEN)}", "{hashed(TOKEN)}"]'), "listed twice"),
        (identity(tokens=f'["{hashed("")}"]'), "empty token"),
        (identity(tokens="[3]"), "tokens: expected a list of texts"),
        (identity(certificates='["ip:10.0.0.1"]'), "certificates: expected"),
        (identity(certificates='["dns:a.*.svc"]'), "first label of a dns"),
        (identity(certificates='["cn:*"]'), r"\* stands at"),
        (identity(certificates='["uri:*"]'), r"\* stands at"),
        (identity(certificates='["dns:*.*.svc"]'), r"\* stands at"),
        (identity(feedback_per_minute="0"), "feedback_per_minute"),
        (identity(feedback_per_minute="true"), "feedback_per_minute"),
        (identity(role='["read"]'), "no field 'role'"),
        ("x = '''" + "y" * (1 << 20) + "'''", "more than"),
        ("x = " + "[" * 5000, "not TOML"),
        (identity(feedback_per_minute="1" * 5000), "not TOML"),
    ],
)
def test_what_is_no_roster(text: str, why: str) -> None:
    """A file that can't be meant is refused as a whole, with a message that quotes no token and no hash."""
    with pytest.raises(RosterError, match=why) as caught:
        roster(text)
    assert hashed(TOKEN)[7:20] not in str(caught.value)
    assert "secret-in-the-clear" not in str(caught.value)


def test_evidence_is_not_shown() -> None:
    """What is printed of it by mistake holds no token."""
    assert TOKEN not in repr(Evidence(TOKEN))


@given(st.text(max_size=300) | st.binary(max_size=300))
def test_any_content(content: str | bytes) -> None:
    """Whatever stands in the file, it is a roster or a RosterError."""
    with contextlib.suppress(RosterError):
        Roster.parse(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.lists(st.text(max_size=20), max_size=3)
)


@given(st.dictionaries(st.sampled_from(["name", "tenant", "roles", "tokens", "certificates", "x"]), VALUES))
def test_any_fields(table: dict[str, object]) -> None:
    """Whatever the fields hold, too; JSON's texts and lists are TOML's."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in table.items() if value is not None]
    with contextlib.suppress(RosterError):
        Roster.parse("\n".join(["[[identity]]", *lines]).encode())


@given(st.text(max_size=50), st.sets(st.tuples(st.sampled_from(["dns", "uri", "cn"]), st.text(max_size=30))))
def test_any_evidence(token: str, names: set[tuple[str, str]]) -> None:
    """Whatever is shown, nobody is known by accident."""
    known = roster(TEAM)
    assert known.identify(Evidence(token)) in (
        Refusal.UNKNOWN_TOKEN,
        SIDECARS if token in (TOKEN, OTHER) else None,
    )
    if not any("team-a" in name or "Sidecar" in name or "audit" in name.lower() for _, name in names):
        found = known.identify(Evidence(names=frozenset(names)))
        assert found in (Refusal.UNKNOWN_CERTIFICATE, Refusal.NO_CREDENTIALS)
