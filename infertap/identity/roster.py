"""Roster: the identities file, read and asked. Pure.

TOML 1.0, at most MOST_BYTES:

    [[identity]]
    name = "team-a-sidecars"                       # unique; 1 to 64 of A-Z a-z 0-9 . _ -
    tenant = "team-a"                              # the same; "*": all tenants; absent: the unnamed one
    roles = ["ingest"]                             # ingest, read, feedback, admin
    tokens = ["sha256:2bb80d53…"]                  # of the token, 64 hex digits; several while one is rotated
    certificates = ["uri:spiffe://x/ns/team-a/*"]  # kind:name of a client certificate, see below
    feedback_per_minute = 600                      # pieces; absent: as the server's settings say

Kinds are `dns`, `uri`, `email` (subject alternative names, RFC 5280, section 4.2.1.6) and `cn` (the subject's
common name). A name is exact, but a `*` at the end of a `uri` stands for any rest, and `*.` at the beginning
of a `dns` for exactly one label. Of several identities that fit a certificate the first in the file is meant.

Who may write (ingest, feedback) has one tenant, so that it is known whose the records are. It promises: no
error quotes a token or its hash; what a token is compared with depends on a key that only this process has,
so that the time it takes tells nothing.
"""

import hashlib
import hmac
import re
import secrets
import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from infertap.identity.caller import Identity, Role

MOST_BYTES: Final = 1 << 20
MOST_IDENTITIES: Final = 10_000
# Of what a caller presents; longer ones are not even hashed.
MOST_TOKEN_CHARACTERS: Final = 4096
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")
_RULE: Final = re.compile(r"(dns|uri|email|cn):(.+)")
_FIELDS: Final = {"name", "tenant", "roles", "tokens", "certificates", "feedback_per_minute"}
_WRITING: Final = frozenset({Role.INGEST, Role.FEEDBACK})
_MOST_PER_MINUTE: Final = 1_000_000_000


class RosterError(ValueError):
    """The identities file can't be used; the message says where and why, and quotes no secret."""


class Refusal(StrEnum):
    """Why a call is refused: for counts and logs, never for the caller."""

    NO_CREDENTIALS = "no_credentials"
    UNKNOWN_TOKEN = "unknown_token"  # noqa: S105  (a reason, no secret)
    UNKNOWN_CERTIFICATE = "unknown_certificate"
    ROLE = "role"
    # The method is in no list of `required`.
    METHOD = "method"
    # What it asks for is another tenant's, or that of all; the service says so by PERMISSION_DENIED.
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a caller shows: a token, and the names in its verified certificate as (kind, name)."""

    token: str | None = field(default=None, repr=False)
    names: frozenset[tuple[str, str]] = frozenset()


class Roster:
    """All identities, by what they show."""

    def __init__(
        self, identities: tuple[Identity, ...], tokens: dict[bytes, Identity], rules: list["_Rule"]
    ) -> None:
        self.identities = identities
        self._key = secrets.token_bytes(32)
        self._tokens = {self._sealed(digest): (digest, each) for digest, each in tokens.items()}
        self._rules = rules

    @classmethod
    def parse(cls, content: bytes) -> "Roster":
        """The roster that a file of this content is; raises RosterError."""
        if len(content) > MOST_BYTES:
            raise RosterError(f"more than {MOST_BYTES} bytes")
        try:
            read = tomllib.loads(content.decode())
        except tomllib.TOMLDecodeError as error:
            raise RosterError(f"not TOML: {error}") from None
        except (ValueError, RecursionError):  # no UTF-8, a number without end
            raise RosterError("not TOML") from None
        listed = read.pop("identity", None)
        if read or not isinstance(listed, list) or not 0 < len(listed) <= MOST_IDENTITIES:
            raise RosterError(f"expected 1 to {MOST_IDENTITIES} tables [[identity]], and nothing else")
        return _Reading().roster(listed)

    def identify(self, evidence: Evidence) -> Identity | Refusal:
        """Who shows this. A token that nobody has is not made good by a certificate."""
        if evidence.token is not None:
            return self._by_token(evidence.token) or Refusal.UNKNOWN_TOKEN
        if evidence.names:
            fitting = (rule.identity for rule in self._rules if rule.fits(evidence.names))
            return next(fitting, Refusal.UNKNOWN_CERTIFICATE)
        return Refusal.NO_CREDENTIALS

    def _by_token(self, token: str) -> Identity | None:
        if len(token) > MOST_TOKEN_CHARACTERS:
            return None
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        known, identity = self._tokens.get(self._sealed(digest), (b"", None))
        return identity if hmac.compare_digest(known, digest) else None

    def _sealed(self, digest: bytes) -> bytes:
        return hmac.digest(self._key, digest, "sha256")


@dataclass(frozen=True, slots=True)
class _Rule:
    kind: str
    name: str
    identity: Identity

    def fits(self, names: frozenset[tuple[str, str]]) -> bool:
        return any(kind == self.kind and self._fits(name) for kind, name in names)

    def _fits(self, name: str) -> bool:
        if self.kind == "uri" and self.name.endswith("*"):
            return name.startswith(self.name[:-1])
        if self.kind != "dns":
            return name == self.name
        name = name.lower()  # RFC 4343
        if self.name.startswith("*."):
            label, dot, rest = name.partition(".")
            return bool(label and dot) and rest == self.name[2:].lower()
        return name == self.name.lower()


class _Reading:
    """Reads the tables one after the other."""

    def __init__(self) -> None:
        self._identities: dict[str, Identity] = {}
        self._tokens: dict[bytes, Identity] = {}
        self._rules: list[_Rule] = []

    def roster(self, listed: list[Any]) -> Roster:
        for number, table in enumerate(listed, 1):
            try:
                self._read(table)
            except (ValueError, TypeError) as error:
                raise RosterError(f"identity {number}: {error}") from None
        return Roster(tuple(self._identities.values()), self._tokens, self._rules)

    def _read(self, table: Any) -> None:
        if not isinstance(table, dict):
            raise TypeError("expected a table")
        if unknown := table.keys() - _FIELDS:
            raise ValueError(f"no field {min(unknown)[:64]!r}; there are {', '.join(sorted(_FIELDS))}")
        identity = _identity(table)
        if identity.name in self._identities:
            raise ValueError(f"a second {identity.name!r}")
        self._identities[identity.name] = identity
        tokens, rules = _texts(table, "tokens"), _texts(table, "certificates")
        if not tokens and not rules:
            raise ValueError("neither tokens nor certificates")
        for text in tokens:
            self._add_token(text, identity)
        for text in rules:
            self._add_rule(text, identity)

    def _add_token(self, text: str, identity: Identity) -> None:
        match = _HASH.fullmatch(text)
        if match is None:
            raise ValueError("tokens: expected sha256: and 64 hex digits (the hash, never the token)")
        digest = bytes.fromhex(match[1])
        if digest in self._tokens:
            raise ValueError("tokens: one is listed twice")
        if digest == hashlib.sha256(b"").digest():
            raise ValueError("tokens: the hash of an empty token")
        self._tokens[digest] = identity

    def _add_rule(self, text: str, identity: Identity) -> None:
        match = _RULE.fullmatch(text)
        if match is None:
            raise ValueError("certificates: expected dns:, uri:, email: or cn: and a name")
        kind, name = match[1], match[2]
        stars = name.count("*")
        is_sound = not stars or (
            stars == 1 and (name.endswith("*") if kind == "uri" else name.startswith("*."))
        )
        if not is_sound or (stars and kind in ("email", "cn")) or name in ("*", "*."):
            raise ValueError("certificates: * stands at the end of a uri, or as the first label of a dns")
        self._rules.append(_Rule(kind, name, identity))


def _identity(table: dict[str, Any]) -> Identity:
    name, tenant = table.get("name"), table.get("tenant", "")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("name: expected 1 to 64 of A-Z a-z 0-9 . _ -")
    if not isinstance(tenant, str) or not (tenant in ("", "*") or _NAME.fullmatch(tenant)):
        raise ValueError("tenant: expected 1 to 64 of A-Z a-z 0-9 . _ -, or *")
    listed = _texts(table, "roles")
    if not listed or not set(listed) <= set(Role):
        raise ValueError(f"roles: expected some of {', '.join(Role)}")
    roles = frozenset(map(Role, listed))
    if tenant == "*" and roles & _WRITING:
        raise ValueError("tenant: who has the role ingest or feedback has one tenant, not *")
    per_minute = table.get("feedback_per_minute")
    if per_minute is not None and (type(per_minute) is not int or not 0 < per_minute <= _MOST_PER_MINUTE):
        raise ValueError("feedback_per_minute: expected a whole number from 1")
    return Identity(name, None if tenant == "*" else tenant, roles, per_minute)


def _texts(table: dict[str, Any], name: str) -> list[str]:
    listed = table.get(name, [])
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise ValueError(f"{name}: expected a list of texts")
    return listed
