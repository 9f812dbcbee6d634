"""Tree: redacts decoded JSON. Keys, strings, numbers that are card numbers, and named fields."""

import json
from typing import Any, Final

from sidecar.recorder.redaction.checks import is_card_number
from sidecar.recorder.redaction.fields import is_secret_name
from sidecar.recorder.redaction.findings import Findings
from sidecar.recorder.redaction.masks import last_four, mask
from sidecar.recorder.redaction.names import words_that_tell
from sidecar.recorder.redaction.policy import Policy
from sidecar.recorder.redaction.text import TextRedaction
from sidecar.recorder.redaction.tokens import is_token_text

# Deeper than any payload of a model, shallower than Python's own limit.
MAX_DEPTH: Final = 200
_FIELD: Final = "field"
_SECRET: Final = "secret"  # noqa: S105
_TOKENS: Final = "token_ids"
_DROPPED: Final = object()
_SMALLEST_CARD: Final = 10**12
_NUMBERS: Final = frozenset((int, float, bool))
_OPENS_JSON: Final = ("{", "[")


class TooDeepError(Exception):
    """The tree is deeper than MAX_DEPTH."""


class TreeRedaction:
    """Redacts trees of dict, list, str, int, float, bool and None; the tree handed in is not changed."""

    def __init__(self, policy: Policy, text: TextRedaction) -> None:
        self._fields = policy.fields
        self._names_fields = bool(policy.fields)
        self._key = policy.key
        self._text = text
        self._masks_cards = "payment_card" in policy.kinds
        self._masks_secrets = "api_key" in policy.kinds

    def redact(self, tree: Any, where: str, findings: Findings) -> Any:
        """A redacted copy; raises TooDeepError."""
        redacted = self._value(tree, [], where, findings)
        return None if redacted is _DROPPED else redacted

    def _value(self, value: Any, path: list[str | int], where: str, findings: Findings) -> Any:
        if self._names_fields and (action := self._fields.action(path)) is not None:
            findings.add(_FIELD, where)
            return self._by_rule(value, action)
        if isinstance(value, str):
            return self._string(value, path, where, findings)
        if isinstance(value, dict):
            return self._object(value, path, where, findings)
        if isinstance(value, list):
            return self._array(value, path, where, findings)
        return self._number(value, path, where, findings)

    def _number(self, value: Any, path: list[str | int], where: str, findings: Findings) -> Any:
        if self._masks_cards and _is_card(value):
            findings.add("payment_card", where)
            return 0
        name = path[-1] if path else ""
        if _is_whole(value) and isinstance(name, str) and words_that_tell(name):
            before = findings.total
            self._text.member(name, str(int(value)), where, findings)
            return value if findings.total == before else 0
        return value

    def _string(self, value: str, path: list[str | int], where: str, findings: Findings) -> str:
        """A text, or a JSON document written as one, as the arguments of a tool are."""
        if value.lstrip()[:1] in _OPENS_JSON and (nested := _read(value)) is not None:
            before = findings.total
            kept = self._value(nested, path, where, findings)
            if findings.total > before or repeats_a_key(value):
                return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
        name = path[-1] if path else ""
        return self._text.member(name if isinstance(name, str) else "", value, where, findings)

    def _object(
        self, value: dict[str, Any], path: list[str | int], where: str, findings: Findings
    ) -> dict[str, Any]:
        _check_depth(path)
        redacted: dict[str, Any] = {}
        tensor_action = self._fields.tensor_action(value)
        for key, member in value.items():
            path.append(key)
            kept: Any
            if self._is_secret(key, member) and not self._is_named(path):
                findings.add(_SECRET, where)
                kept = mask(_SECRET) if isinstance(member, str) else 0
            elif tensor_action is not None and key == "data":
                findings.add(_FIELD, where)
                kept = self._by_rule(member, tensor_action)
            elif key == "bytes" and isinstance(member, list):
                kept = []  # a token's text over again, as numbers that no pattern reads
            elif key == "tokens" and _are_texts(member):
                kept = self._text.joined(member, where, findings)
            elif is_token_text(key, member, value):
                findings.add(_TOKENS, where)
                kept = []
            else:
                if key == "logprobs" and isinstance(member, dict):
                    member = self._listed_tokens(member, where, findings)  # noqa: PLW2901
                kept = self._value(member, path, where, findings)
            path.pop()
            if kept is not _DROPPED:
                redacted[self._text.text(key, where, findings)] = kept
        return redacted

    def _is_secret(self, name: str, value: Any) -> bool:
        return self._masks_secrets and _may_be_secret(value) and is_secret_name(name)

    def _is_named(self, path: list[str | int]) -> bool:
        """Whether a rule of the policy says what becomes of it."""
        return self._names_fields and self._fields.action(path) is not None

    def _array(self, value: list[Any], path: list[str | int], where: str, findings: Findings) -> list[Any]:
        _check_depth(path)
        if not self._names_fields and _is_plain(value):
            return value
        redacted = []
        if _is_tokens(value):
            value = self._tokens(value, where, findings)
        path.append(0)
        for index, member in enumerate(value):
            path[-1] = index
            kept = self._value(member, path, where, findings)
            if kept is not _DROPPED:
                redacted.append(kept)
        path.pop()
        return redacted

    def _tokens(self, value: list[Any], where: str, findings: Findings) -> list[Any]:
        """Tokens of one text: a value may be spread over several of them."""
        name = _token_name(value[0])
        joined = self._text.joined([member[name] for member in value], where, findings)
        return [_with_token(member, name, token) for member, token in zip(value, joined, strict=True)]

    def _listed_tokens(self, logprobs: dict[str, Any], where: str, findings: Findings) -> dict[str, Any]:
        """Log-probabilities as lists of one length each: tokens, and the likeliest beside each."""
        tokens, beside = logprobs.get("tokens"), logprobs.get("top_logprobs")
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            return logprobs
        joined = self._text.joined(tokens, where, findings)
        if isinstance(beside, list):
            is_same = [before == after for before, after in zip(tokens, joined, strict=True)]
            beside = [likely if same else None for likely, same in zip(beside, is_same, strict=False)]
        return {**logprobs, "tokens": joined} | ({"top_logprobs": beside} if beside is not None else {})

    def _by_rule(self, value: Any, action: str) -> Any:
        if action == "drop":
            return _DROPPED
        if action == "last4" and isinstance(value, str):
            return last_four(_FIELD, value)
        if action == "hash" and self._key is not None:
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            return self._key.hash(text.encode("utf-8", "replace"))
        return masked_by_type(value)


def _may_be_secret(value: Any) -> bool:
    """A text or a number that says something."""
    return bool(value) and isinstance(value, str | int | float) and value is not True


def _read(text: str) -> Any:
    """The object or array that `text` is as JSON; None where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None
    except RecursionError:
        raise TooDeepError from None


def masked_by_type(value: Any) -> Any:
    """What stands in place of a named field: of the same type, and empty."""
    if isinstance(value, str):
        return mask(_FIELD)
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return 0
    if isinstance(value, list):
        return []
    return {} if isinstance(value, dict) else None


def holds_no_text(value: list[Any]) -> bool:
    """Whether an array holds numbers alone."""
    return _NUMBERS.issuperset(map(type, value))


def _with_token(member: dict[str, Any], name: str, token: str) -> dict[str, Any]:
    """`member` with its token redacted; the likeliest tokens beside a masked one would spell it again."""
    if token == member[name]:
        return member
    beside: dict[str, Any] = {"top_logprobs": []} if "top_logprobs" in member else {}
    return {**member, name: token, **beside}


def _token_name(member: dict[str, Any]) -> str:
    """Under which name a token's text stands: OpenAI's, or that of TGI, which has a number beside it."""
    return "text" if "id" in member and "token" not in member else "token"


def _is_tokens(value: list[Any]) -> bool:
    if len(value) < 2 or not isinstance(value[0], dict):
        return False
    name = _token_name(value[0])
    return all(isinstance(member, dict) and isinstance(member.get(name), str) for member in value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and {*map(type, value)} == {str}


def _is_plain(value: list[Any]) -> bool:
    """Numbers, none of them long enough for a card's: a tensor, mostly, and told at the speed of C."""
    if not value or not holds_no_text(value):
        return False
    # A NaN in front makes the comparisons fail, which is the safe side.
    return bool(max(value) < _SMALLEST_CARD and min(value) > -_SMALLEST_CARD)


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def _is_card(value: Any) -> bool:
    """A float too: that is what a table's integers become where one of them is missing."""
    return (
        _is_whole(value)
        and _SMALLEST_CARD <= abs(value) < 10**19
        and is_card_number(str(int(abs(value))).encode())
    )


def repeats_a_key(text: bytes | str) -> bool:
    """Whether an object in this JSON has two members of one name, of which a decoded tree shows one."""
    repeated = False

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        members = dict(pairs)
        repeated = repeated or len(members) != len(pairs)
        return members

    json.loads(text, object_pairs_hook=note)
    return repeated


def _check_depth(path: list[str | int]) -> None:
    if len(path) > MAX_DEPTH:
        raise TooDeepError
