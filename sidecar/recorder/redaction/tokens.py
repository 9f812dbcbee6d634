"""Tokens: text that stands as numbers, which no pattern reads. Pure."""

from typing import Any, Final

# What holds tokens of a prompt, in the interfaces that take them, where it is an array of whole numbers.
_ALWAYS: Final = frozenset({"prompt", "prompt_token_ids", "token_ids", "input_ids", "output_token_ids"})
# Of these only beside a model's name: elsewhere they are features.
_BESIDE_A_MODEL: Final = frozenset({"input"})

# JSON text that may hold such a member, or lists of tokens.
MAY_HOLD_TOKENS: Final = (
    rb"\"(?:prompt|prompt_token_ids|token_ids|input_ids|output_token_ids|input)\"\s*:\s*\[\s*[\[0-9]"
    rb"|\"bytes\"\s*:|\"(?:tokens|prefill)\"\s*:\s*\[\s*[\"{]"
)


def is_token_text(key: str, member: Any, holder: dict[str, Any]) -> bool:
    """Whether the member of that name holds text as the numbers of its tokens."""
    if not isinstance(member, list):
        return False
    if key in _ALWAYS or (key in _BESIDE_A_MODEL and isinstance(holder.get("model"), str)):
        return _are_numbers(member) or (bool(member) and all(map(_are_numbers, member)))
    return False


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(each) is int for each in value)
