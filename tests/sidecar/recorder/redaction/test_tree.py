"""Numbers in trees: tensors pass at once, and card numbers among them do not."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from sidecar import config
from sidecar.recorder.redaction import Findings, Policy, Redactor
from sidecar.recorder.redaction.text import TextRedaction
from sidecar.recorder.redaction.tree import TreeRedaction

CARD = 4111_1111_1111_1111


def tree_redaction(**settings: str) -> TreeRedaction:
    read = config.read({f"INFERTAP_{name.upper()}": value for name, value in settings.items()})
    policy = Policy.of(read, None)
    return TreeRedaction(policy, TextRedaction(policy.scanner))


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
