"""Numbers in trees: tensors pass at once, and card numbers among them do not."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from sidecar import config
from sidecar.recorder.redaction import Findings, Policy, Redactor
from sidecar.recorder.redaction.finder import Finder
from sidecar.recorder.redaction.text import TextRedaction
from sidecar.recorder.redaction.tree import TreeRedaction

CARD = 4111_1111_1111_1111


def tree_redaction(**settings: str) -> TreeRedaction:
    read = config.read({f"INFERTAP_{name.upper()}": value for name, value in settings.items()})
    policy = Policy.of(read, None)
    return TreeRedaction(policy, TextRedaction(Finder(policy.scanner), policy.masks))


@pytest.mark.parametrize(
    ("tree", "redacted", "found"),
    [
        ([1, 2.5, True], [1, 2.5, True], 0),
        ([], [], 0),
        ([[1.0, 2.0], [CARD]], [[1.0, 2.0], [0]], 1),
        ([1, CARD, 2], [1, 0, 2], 1),
        ([math.inf, CARD], [math.inf, 0], 1),
        ([1, None, CARD], [1, None, 0], 1),
        ({"a": [1, "4111 1111 1111 1111"]}, {"a": [1, "<payment_card>"]}, 1),
    ],
)
def test_numbers(tree: Any, redacted: Any, found: int) -> None:
    """Numbers stay as they are, but for those that are card numbers."""
    findings = Findings()
    assert tree_redaction().redact(tree, "body", findings) == redacted
    assert findings.total == found


def test_card_behind_no_number() -> None:
    """A NaN, which compares with nothing, hides no card number."""
    findings = Findings()
    redacted = tree_redaction().redact([math.nan, CARD], "body", findings)
    assert redacted[1] == 0
    assert findings.total == 1


def test_named_numbers() -> None:
    """A named field inside an array of numbers is masked."""
    made = tree_redaction(redact_fields="$.inputs[1]=mask")
    assert made.redact({"inputs": [5, 6, 7]}, "body", Findings()) == {"inputs": [5, 0, 7]}


def test_a_card_number_as_a_float_is_masked(redactor: Callable[..., Redactor]) -> None:
    """Tables turn integers into floats where one is missing: such a card number is one still."""
    body = redactor().body("application/json", b'{"a":[4111111111111111.0,null,1.5]}', Findings())
    assert body.documents == ({"a": [0, None, 1.5]},)


def test_names_in_camel_case_mean_secrets(redactor: Callable[..., Redactor]) -> None:
    """`dbPassword` is a secret as `db_password` is; `maxTokens` is none."""
    data = b'{"dbPassword":"hunter","userSecret":"abc","maxTokens":"5"}'
    body = redactor().body("application/json", data, Findings())
    assert body.documents == ({"dbPassword": "<secret>", "userSecret": "<secret>", "maxTokens": "5"},)


def test_likeliest_tokens_beside_a_masked_one_go(redactor: Callable[..., Redactor]) -> None:
    """Log probabilities list each token again among its alternatives, which would spell what was masked."""
    tokens = [{"token": token, "top_logprobs": [{"token": token}]} for token in ("ada", "@x.org")]
    body = redactor().body("application/json", json.dumps(tokens).encode(), Findings())
    assert body.documents == ([{"token": "<email>", "top_logprobs": []}, {"token": "", "top_logprobs": []}],)


@pytest.mark.parametrize(
    ("tree", "redacted"),
    [
        ({"date_of_birth": "1985-03-04"}, {"date_of_birth": "<birth_date>"}),
        ({"customerDob": "03/04/1985"}, {"customerDob": "<birth_date>"}),
        ({"passportNumber": "C01X00T47"}, {"passportNumber": "<passport>"}),
        ({"patient_nhs": 9434765870}, {"patient_nhs": 0}),
        ({"user": {"bsn": "111222333"}}, {"user": {"bsn": "<nl_bsn>"}}),
        ({"released": "1985-03-04", "n": 9434765870}, {"released": "1985-03-04", "n": 9434765870}),
        ({"birthplace": "London", "taxes": 3}, {"birthplace": "London", "taxes": 3}),
    ],
)
def test_names_that_tell(tree: Any, redacted: Any) -> None:
    """A member's name says what its value is, as words before it do in a text; other names say nothing."""
    assert tree_redaction().redact(tree, "body", Findings()) == redacted


def test_lone_surrogates_under_a_telling_name() -> None:
    """What is no valid Unicode becomes `?` there too: a record can hold it."""
    (tree,) = (
        Redactor(Policy.of(config.read({}), None))
        .body("application/json", b'{"birthplace": "a\\ud800"}', Findings())
        .documents
    )
    assert tree == {"birthplace": "a?"}


def test_such_bodies_are_never_taken_for_clean() -> None:
    """A body whose only personal data is told by a member's name is looked at."""
    made = Redactor(Policy.of(config.read({}), None))
    for name, value in [
        ("customerDob", "03/04/1985"),
        ("patient_nhs", "943 476 5870"),
        ("myBsn", "111222333"),
    ]:
        body = made.body("application/json", json.dumps({name: value}).encode(), Findings())
        assert value.encode() not in body.data


def test_json_inside_json_keeps_its_secrets() -> None:
    """The arguments of a tool are a document of their own: its secrets and named fields are masked too."""
    arguments = json.dumps({"password": "hunter2", "pin_token": 5, "to": "ada@example.org", "n": [1, 2]})
    redacted = tree_redaction(redact_fields="n=drop").redact({"arguments": arguments}, "body", Findings())
    assert json.loads(redacted["arguments"]) == {"password": "<secret>", "pin_token": 5, "to": "<email>"}


def test_rules_go_before_telling_names() -> None:
    """What a rule says of a member holds, though its name means a secret; others are masked."""
    tree = {
        "user": {"password": "hunter2", "client_secret": "abcdefgh"},
        "passwd": "hunter3",
        "pwd": "hunter4",
    }
    redacted = tree_redaction(redact_fields="password=drop,$.user.client_secret=last4,passwd=mask").redact(
        tree, "body", Findings()
    )
    assert redacted == {"user": {"client_secret": "<field:efgh>"}, "passwd": "<field>", "pwd": "<secret>"}


def test_masks_by_class(redactor: Any) -> None:
    """A class can be hashed, dropped, or keep its last four; the same value has the same hash."""
    made = redactor(
        b"a key of 16 bytes", redact_actions="email=hash,payment_card=last4,iban=drop,us_ssn=hash"
    )
    body = {
        "a": "Ada@Example.org",
        "b": "x ada%40example.org",
        "c": "4111 1111 1111 1234 4111-1111-1111-1111",
        "d": "DE89370400440532013000.",
        "e": ["219-09-9999", "219 09 9999"],
    }
    (tree,) = made.body("application/json", json.dumps(body).encode(), Findings()).documents
    assert tree["a"].startswith("hmac:")
    assert tree["b"] == f"x {tree['a']}"
    assert tree["c"].endswith(" <payment_card:1111>")
    assert tree["d"] == "."
    assert tree["e"][0] == tree["e"][1]
    without_key = redactor(None, redact_actions="email=hash")
    assert without_key.raw(b"ada@example.org", "path", Findings()) == "<email>"


def test_last_four_of_a_field() -> None:
    """A named field can keep its last four characters, where it is long enough."""
    redaction = tree_redaction(redact_fields="account=last4")
    tree = {"a": {"account": "12-3456-7890"}, "b": {"account": "1234"}, "c": {"account": 12345678}}
    assert redaction.redact(tree, "body", Findings()) == {
        "a": {"account": "<field:7890>"},
        "b": {"account": "<field>"},
        "c": {"account": 0},
    }


@pytest.mark.parametrize(
    ("tree", "redacted"),
    [
        ({"prompt": [1, 2, 3]}, {"prompt": []}),
        ({"prompt": [[1, 2], [3]]}, {"prompt": []}),
        ({"prompt": ["a", "b"]}, {"prompt": ["a", "b"]}),
        ({"prompt": []}, {"prompt": []}),
        ({"model": "m", "input": [1, 2]}, {"model": "m", "input": []}),
        ({"input": [1, 2]}, {"input": [1, 2]}),
        ({"inputs": {"input_ids": [[101, 102]], "age": [1]}}, {"inputs": {"input_ids": [], "age": [1]}}),
    ],
)
def test_text_as_tokens_is_withheld(tree: Any, redacted: Any) -> None:
    """Prompts as the numbers of their tokens are no text that rules can read; features are numbers."""
    made = Redactor(Policy.of(config.read({}), None))
    assert made.body("application/json", json.dumps(tree).encode(), Findings()).documents == (redacted,)


def test_lists_of_tokens_are_one_text() -> None:
    """In log-probabilities as lists a value may be spread over tokens; likely ones beside it spell it too."""
    tree = {
        "logprobs": {
            "tokens": ["to ", "ada", "@example", ".org", " now"],
            "top_logprobs": [{"to ": -1}, {"ada": -1}, {"@example": -1}, {".org": -1}, {" now": -1}],
            "token_logprobs": [0, 0, 0, 0, 0],
        }
    }
    made = Redactor(Policy.of(config.read({}), None))
    (redacted,) = made.body("application/json", json.dumps(tree).encode(), Findings()).documents
    assert redacted["logprobs"]["tokens"] == ["to ", "<email>", "", "", " now"]
    assert redacted["logprobs"]["top_logprobs"] == [{"to ": -1}, None, None, None, {" now": -1}]


def test_tensors_by_name() -> None:
    """A rule can name a tensor: its values go, its shape stays."""
    redaction = tree_redaction(redact_fields="tensor:age=drop,tensor:name=mask")
    tree = {
        "inputs": [
            {"name": "age", "shape": [2], "data": [30, 40]},
            {"name": "name", "shape": [1], "data": ["x"]},
            {"name": "other", "data": [1]},
        ]
    }
    assert redaction.redact(tree, "body", Findings()) == {
        "inputs": [
            {"name": "age", "shape": [2]},
            {"name": "name", "shape": [1], "data": []},
            {"name": "other", "data": [1]},
        ]
    }


def test_secrets_that_are_numbers_are_never_taken_for_clean() -> None:
    """A member whose name means a secret loses its number too."""
    made = Redactor(Policy.of(config.read({}), None))
    body = made.body("application/json", b'{"user_password": 12345, "prompt_tokens": 7}', Findings())
    assert body.documents == ({"user_password": 0, "prompt_tokens": 7},)
