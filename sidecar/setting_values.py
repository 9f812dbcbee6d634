"""The values of the sidecar's settings that are more than a number or a text, and how each is read.

Pure; standard library only, as parent and relays import it. Readers raise ValueError, which says what is
expected.
"""

import re
from dataclasses import dataclass

from infertap.settings import Address, Endpoint, comma_list, endpoint, number

# Every class; what each finds is told in docs/redaction.md.
REDACTION_CLASSES = (
    *("email", "phone", "payment_card", "iban", "ipv4", "ipv6", "mac", "passport", "birth_date"),
    *("jwt", "bearer", "api_key", "private_key", "url_credential"),
    *("us_ssn", "us_itin", "ca_sin", "br_cpf", "mx_curp", "uk_nino", "uk_nhs", "es_dni", "it_fiscal_code"),
    *(
        "fr_nir",
        "de_tax_id",
        "pl_pesel",
        "nl_bsn",
        "be_nrn",
        "se_pin",
        "fi_hetu",
        "no_fnr",
        "dk_cpr",
        "ch_ahv",
    ),
    *("in_aadhaar", "in_pan", "cn_resident_id", "kr_rrn", "sg_nric", "za_id", "au_tfn"),
    "street_address",
)
# Found too often where none is meant: only looked for where it is named.
OFF_BY_DEFAULT = frozenset({"street_address"})

PROTOCOLS = ("http/1.1", "h2", "auto")


@dataclass(frozen=True, slots=True)
class Original:
    """Instead of a model's address: where the client wanted to go before it was redirected here."""

    tls: bool = False

    def __str__(self) -> str:
        return f"{'tls:' * self.tls}original"


@dataclass(frozen=True, slots=True)
class Route:
    """One listening address in front of one model address."""

    listen: Endpoint
    upstream: Endpoint | Original
    # What the model speaks, one of PROTOCOLS; None: as INFERTAP_PROTOCOL says. Only ALPN needs to know.
    protocol: str | None = None

    @property
    def listens_with_tls(self) -> bool:
        return isinstance(self.listen, Address) and self.listen.tls

    @property
    def dials_with_tls(self) -> bool:
        return isinstance(self.upstream, Address | Original) and self.upstream.tls

    def __str__(self) -> str:
        listen = self.listen.port if isinstance(self.listen, Address) else self.listen
        return f"{listen}={self.upstream}"


@dataclass(frozen=True, slots=True)
class ContextField:
    """Where a fact about a call's business stands: `origin` is header, query or json; `path` leads to it."""

    name: str
    origin: str
    path: str


@dataclass(frozen=True, slots=True)
class SampleRule:
    """The share kept of calls whose payloads say all of these facts."""

    # (fact, value): the value may end with `*`, or begin with `>` or `<` where the fact is a number.
    conditions: tuple[tuple[str, str], ...]
    rate: float


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What happens to a named JSON field: `action` is one of VALUE_ACTIONS."""

    path: str
    action: str


@dataclass(frozen=True, slots=True)
class OpaqueRule:
    """What happens to bodies no rule can read, by media type; `media_type` may end with `*`."""

    media_type: str
    action: str


def read_statuses(value: str) -> frozenset[int]:
    """`4xx,5xx,429`: the HTTP statuses that count as failed."""
    statuses: set[int] = set()
    for item in comma_list(value):
        if len(item) == 3 and item[0] in "12345" and item[1:].lower() == "xx":
            statuses.update(range(int(item[0]) * 100, int(item[0]) * 100 + 100))
        elif item.isdecimal() and 100 <= int(item) <= 599:
            statuses.add(int(item))
        else:
            raise ValueError("expected statuses such as 4xx,5xx or 429")
    return frozenset(statuses)


def read_routes(value: str) -> tuple[Route, ...]:
    """`9000=127.0.0.1:8000,unix:/run/in.sock=unix:/run/model.sock,tls:9443=127.0.0.1:8001;h2,9001=original`."""
    return tuple(_read_route(item) for item in comma_list(value))


def _read_route(value: str) -> Route:
    listen, equals, upstream = value.partition("=")
    if not equals:
        raise ValueError("expected PORT=HOST:PORT, separated by commas")
    upstream, semicolon, protocol = upstream.partition(";")
    if semicolon and protocol not in PROTOCOLS:
        raise ValueError(f"expected {', '.join(PROTOCOLS)} after the semicolon")
    scheme, colon, port = listen.rpartition(":")
    if port.isdecimal() and scheme in ("", "tls"):
        listen = f"{scheme}{colon}0.0.0.0:{port}"
    return Route(endpoint(listen), read_upstream(upstream), protocol or None)


def read_upstream(value: str) -> Endpoint | Original:
    """An endpoint, or `original` or `tls:original`: where the client wanted to go."""
    if value in ("original", "tls:original"):
        return Original(tls=value.startswith("tls:"))
    return endpoint(value)


def read_redaction(value: str) -> frozenset[str]:
    """`all`, `none`, or class names; `all,-phone` leaves one out, `all,street_address` takes one more."""
    chosen: set[str] = set()
    for item in comma_list(value):
        if item == "all":
            chosen.update(set(REDACTION_CLASSES) - OFF_BY_DEFAULT)
        elif item.lstrip("-") in REDACTION_CLASSES:
            (chosen.discard if item.startswith("-") else chosen.add)(item.lstrip("-"))
        elif item != "none":
            raise ValueError(
                f"no redaction class {item!r}; there are all, none, {', '.join(REDACTION_CLASSES)}"
            )
    return frozenset(chosen)


_CONTEXT_NAME = re.compile(r"[A-Za-z_][0-9A-Za-z_.-]{0,63}")


def read_context_fields(value: str) -> tuple[ContextField, ...]:
    """`tier=$.metadata.tier,cohort=header:x-cohort,intent=query:intent`."""
    fields = []
    for item in comma_list(value):
        name, _, source = item.partition("=")
        if source.startswith("$"):
            origin, path = "json", source
        else:
            origin, _, path = source.partition(":")
            path = path.lower() if origin == "header" else path
        is_path = origin in ("header", "query") or FIELD_PATH.fullmatch(path) is not None
        if (
            _CONTEXT_NAME.fullmatch(name) is None
            or origin not in ("json", "header", "query")
            or not path
            or not is_path
        ):
            raise ValueError("expected NAME=$.path, NAME=header:NAME or NAME=query:NAME, separated by commas")
        fields.append(ContextField(name, origin, path))
    return tuple(fields)


SAMPLE_FACTS = ("model", "version", "user", "finish_reason")
SAMPLE_NUMBERS = ("input_tokens", "output_tokens")


def read_sample_rules(value: str) -> tuple[SampleRule, ...]:
    """`model:iris*=0.1,model:big&output_tokens:>1000=0.5`: the first that fits decides."""
    rules = []
    for item in comma_list(value):
        said, equals, rate = item.rpartition("=")
        if not equals:
            raise ValueError("expected FACT:VALUE=RATE, separated by commas; several facts joined by &")
        conditions = tuple(_read_condition(each) for each in said.split("&"))
        rules.append(SampleRule(conditions, number(0, 1)(rate)))
    return tuple(rules)


def _read_condition(said: str) -> tuple[str, str]:
    fact, _, wanted = said.partition(":")
    if fact in SAMPLE_NUMBERS and re.fullmatch(r"[<>]\d{1,15}", wanted):
        return fact, wanted
    if fact in SAMPLE_FACTS and wanted:
        return fact, wanted
    facts = ", ".join(
        [f"{each}:VALUE" for each in SAMPLE_FACTS] + [f"{each}:>NUMBER" for each in SAMPLE_NUMBERS]
    )
    raise ValueError(f"no fact {said!r}; there are {facts} (or <)")


# What can stand in place of a value.
VALUE_ACTIONS = ("mask", "hash", "drop", "last4")


def read_actions(value: str) -> tuple[tuple[str, str], ...]:
    """`email=hash,payment_card=last4`: what stands in place of values of a class."""
    actions = {}
    for item in comma_list(value):
        kind, _, action = item.partition("=")
        if action not in VALUE_ACTIONS:
            raise ValueError(
                f"expected CLASS=ACTION, separated by commas; actions: {', '.join(VALUE_ACTIONS)}"
            )
        if kind not in REDACTION_CLASSES:
            raise ValueError(f"no redaction class {kind!r}; there are {', '.join(REDACTION_CLASSES)}")
        actions[kind] = action
    return tuple(actions.items())


# A field's path from the root of a JSON document: $.user.name, $.inputs[*].data, $.*.email
FIELD_PATH = re.compile(r"\$(?:\.[^.\[\]]+|\[(?:\*|\d+)\])+")


def read_field_rules(value: str) -> tuple[FieldRule, ...]:
    """`$.user.name=hash,$.inputs[*].data=drop,ssn=mask`: a path from the root, or a name at any depth."""
    rules = []
    for item in comma_list(value):
        path, _, action = item.rpartition("=")
        if not path or action not in VALUE_ACTIONS:
            raise ValueError(
                f"expected FIELD=ACTION, separated by commas; actions: {', '.join(VALUE_ACTIONS)}"
            )
        if path.startswith("$") and FIELD_PATH.fullmatch(path) is None:
            raise ValueError(f"{path!r} is no path: expected steps such as .name, [0] or [*] after $")
        rules.append(FieldRule(path, action))
    return tuple(rules)


def read_opaque_rules(value: str) -> tuple[OpaqueRule, ...]:
    """`digest`, or `image/*=keep,audio/*=drop,digest`: the first rule that fits decides."""
    rules = []
    for item in comma_list(value):
        media_type, _, action = item.rpartition("=")
        if action not in ("keep", "digest", "drop"):
            raise ValueError("expected keep, digest or drop, also by media type: image/*=keep,digest")
        rules.append(OpaqueRule(media_type.lower() or "*", action))
    return tuple(rules)
