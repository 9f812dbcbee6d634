"""Numbers in trees: tensors pass at once, and card numbers among them do not."""

import math
from typing import Any

import pytest

from sidecar import config
from sidecar.recorder.redaction import Findings, Policy
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
