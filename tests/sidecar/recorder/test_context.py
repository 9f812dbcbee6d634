"""Business facts of a call, and the phases and rules that payloads and headers tell of."""

import json
from typing import Any

import pytest

from infertap import v1
from sidecar import config
from sidecar.exchange import Body, EndedBy, Exchange, Protocol, Reason
from sidecar.recorder.conversion import Conversion
from sidecar.recorder.rule_sampling import RuleSampling
from sidecar.recorder.server_timing import Phase, read_phases

KEY = b"a key of 16 bytes"


def exchange(body: Any, headers: bytes = b"", query: bytes = b"", answer: bytes = b"") -> Exchange:
    """A JSON call over HTTP/1."""
    data = json.dumps(body).encode()
    head = b"POST /v1/x%b HTTP/1.1\r\nhost: m\r\ncontent-type: application/json\r\n%b\r\n" % (query, headers)
    return Exchange(
        1,
        0,
        Protocol.HTTP1,
        1_000,
        ended=2_000,
        ended_by=EndedBy.MODEL,
        method=b"POST",
        target=b"/v1/x" + query,
        request_id=b"r",
        status=200,
        request_head=head,
        response_head=b"HTTP/1.1 200 OK\r\n%b\r\n" % answer,
        request=Body([data], len(data), len(data)),
        reason=Reason.RATE,
    )


def record(call: Exchange, key: bytes | None = KEY, **settings: str) -> v1.Record | None:
    """The record of `call` by these settings; None where a rule did not keep it."""
    read = config.read({f"INFERTAP_{name.upper()}": value for name, value in settings.items()})
    converted = Conversion(read, key, bytes(16)).convert(0, call, 0)
    return None if converted is None else v1.Record.FromString(converted.record)


FIELDS = (
    "user=$.user,session=header:x-session,cohort=header:x-cohort,application_version=query:app,"
    "intent=$.metadata.intent,tags=$.metadata.tags,tier=$.metadata.tier,order=$.metadata.orders[0].id,any=$.list[*]"
)


def test_facts_come_from_where_the_settings_say() -> None:
    """Headers, parameters and the request's JSON; who it was only as a keyed hash, in the body too."""
    body = {
        "user": "ada@example.org",
        "metadata": {"intent": "buy", "tags": ["a", "b"], "tier": {"n": 1}, "orders": [{"id": 7}]},
        "list": ["x", "y"],
    }
    made = record(exchange(body, b"x-session: s1\r\nx-cohort: B\r\n", b"?app=1.2&z=1"), context_fields=FIELDS)
    assert made is not None
    assert (made.cohort, made.application_version, made.intent) == ("B", "1.2", "buy")
    assert list(made.tags) == ["a", "b"]
    assert dict(made.context) == {"tier": '{"n":1}', "order": "7", "any": "x"}
    assert made.caller.user.startswith("hmac:")
    assert made.caller.session.startswith("hmac:")
    assert made.caller.user != made.caller.session
    assert json.loads(made.request.data)["user"] == made.caller.user
    by_header = record(exchange({}, b"x-user: ada@example.org\r\n"), user_header="x-user")
    assert by_header is not None
    assert by_header.caller.user == made.caller.user


def test_without_a_key_nobody_is_named() -> None:
    """Without a key there are no hashes: users and sessions are not told, and are masked in the body."""
    made = record(exchange({"user": "u1"}, b"x-session: s\r\n"), None, context_fields=FIELDS)
    assert made is not None
    assert (made.caller.user, made.caller.session) == ("", "")
    assert b"u1" not in made.request.data


def test_facts_are_redacted() -> None:
    """What a header or a document holds is redacted before it is a fact; credentials are never facts."""
    call = exchange(
        {"metadata": {"tier": "mail ada@example.org"}}, b"x-a: 4111 1111 1111 1111\r\ncookie: k=v\r\n"
    )
    made = record(call, context_fields="tier=$.metadata.tier,a=header:x-a,c=header:cookie")
    assert made is not None
    assert dict(made.context) == {"tier": "mail <email>", "a": "<payment_card>", "c": "<credential>"}


@pytest.mark.parametrize(
    "body", [[], [1], "text", None, {"metadata": []}, {"metadata": {"orders": []}}, {"list": {}}]
)
def test_bodies_without_the_facts(body: Any) -> None:
    """A body of another shape has no facts, and its record everything else."""
    made = record(exchange(body), context_fields=FIELDS)
    assert made is not None
    assert not made.context
    assert not made.logging_error_codes


@pytest.mark.parametrize(
    ("value", "phases"),
    [
        ("db;dur=53.2, model;dur=120", [Phase("db", 53200, ""), Phase("model", 120000, "")]),
        ('a;desc="pre, and; post";dur=1', [Phase("a", 1000, "pre, and; post")]),
        ('hit, b;desc="say \\"x\\"" ; dur="2.5"', [Phase("hit", 0, ""), Phase("b", 2500, 'say "x"')]),
        ("a;dur=1;dur=2, ;x, =, b;dur=-1;dur", [Phase("a", 1000, ""), Phase("b", 0, "")]),
        ("a;dur=1e9, b;dur=" + "9" * 400, [Phase("a", 0, ""), Phase("b", 0, "")]),
        ("", []),
        ("x," * 5000, [Phase("x", 0, "")] * 64),
    ],
)
def test_server_timing(value: str, phases: list[Phase]) -> None:
    """Phases by name, duration and description; what can't be read is left out; they are bounded."""
    assert read_phases(value) == phases


def test_phases_are_in_the_record_redacted() -> None:
    """The model's phases are in the record, in their order, less what redaction finds in them."""
    made = record(exchange({}, answer=b'server-timing: q;dur=1.5;desc="for ada@example.org", m;dur=3\r\n'))
    assert made is not None
    phases = [(phase.name, phase.duration_us, phase.description) for phase in made.timing.phases]
    assert phases == [("q", 1500, "for <email>"), ("m", 3000, "")]


def judged(rules: str, call: Exchange | None = None, **model: Any) -> v1.Record | None:
    """A record of that model, where the rules keep it."""
    made = v1.Record(model=v1.Model(**model), caller=v1.Caller(user="hmac:1:2"))
    made.sampling.reason = v1.Sampling.RATE
    made.sampling.fraction = 1.0
    sampling = RuleSampling(config.read({"INFERTAP_SAMPLE_RULES": rules}).sample_rules)
    return made if sampling.keeps(call or exchange({}), made) else None


@pytest.mark.parametrize(
    ("rules", "model", "kept"),
    [
        ("model:iris=0", {"name": "iris"}, False),
        ("model:iris=0", {"name": "iris2"}, True),
        ("model:iris*=0", {"name": "iris2"}, False),
        ("model:iris=0", {}, True),
        ("model:*=0", {"name": "any"}, False),
        ("model:iris&version:3=0", {"name": "iris", "version": "3"}, False),
        ("model:iris&version:3=0", {"name": "iris", "version": "4"}, True),
        ("finish_reason:length=1,model:*=0", {"name": "m", "finish_reasons": ["stop", "length"]}, True),
        ("finish_reason:length=1,model:*=0", {"name": "m", "finish_reasons": ["stop"]}, False),
        ("output_tokens:>100=0", {"output_tokens": 101}, False),
        ("output_tokens:>100=0", {"output_tokens": 100}, True),
        ("input_tokens:<5=0", {"input_tokens": 0}, False),
        ("input_tokens:<5=0", {}, True),
        ("user:hmac:1:2=0", {}, False),
    ],
)
def test_the_first_rule_that_fits_decides(rules: str, model: dict[str, Any], kept: bool) -> None:
    """A rule fits where all its facts are said; what no rule fits is kept as the relay kept it."""
    assert (judged(rules, **model) is not None) is kept


def test_a_rule_thins_by_the_hash_and_says_so() -> None:
    """About its share of calls is kept, always the same ones, and the fraction makes up for the others."""
    kept = []
    for number in range(2000):
        call = exchange({})
        call.request_id = b"r%d" % number
        call.sampling_fraction = 0.5
        made = judged("model:m=0.5", call, name="m")
        if made is not None:
            assert made.sampling.reason == v1.Sampling.RULE
            assert made.sampling.fraction == 0.25
            kept.append(number)
    assert 400 < len(kept) < 600


@pytest.mark.parametrize("reason", [Reason.ERROR, Reason.SLOW])
def test_failures_and_slow_calls_stay(reason: Reason) -> None:
    """What the relay kept for another reason than its rate is no rule's."""
    call = exchange({})
    call.reason = reason
    assert judged("model:m=0", call, name="m") is not None


def test_what_a_rule_leaves_out_has_no_record() -> None:
    """The conversion tells that there is none."""
    body = {"model": "iris", "messages": []}
    call = exchange(body)
    call.target = b"/v1/chat/completions"
    assert record(call, sample_rules="model:iris=0") is None
    assert record(call, sample_rules="model:other=0") is not None
