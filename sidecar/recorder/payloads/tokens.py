"""Tokens: what answers report of them, by the names that each interface has. Never guessed. Pure."""

from typing import Any, Final

from sidecar.recorder.payloads.view import View, count_of, object_of

# Where a count stands: a name, or the name of an object and one in it.
_Places = tuple[tuple[str, str], ...]


def _places(*names: str) -> _Places:
    return tuple((outer, inner) for outer, _, inner in (name.partition(".") for name in names))


# Of these names the first that is there counts; a dot leads into an object.
_INPUT: Final = _places(
    "prompt_tokens",
    "input_tokens",
    "promptTokenCount",
    "inputTokens",
    "prompt_eval_count",
    "tokens.input_tokens",
    "billed_units.input_tokens",
)
_OUTPUT: Final = _places(
    "completion_tokens",
    "output_tokens",
    "candidatesTokenCount",
    "outputTokens",
    "eval_count",
    "tokens.output_tokens",
    "billed_units.output_tokens",
)
_CACHED: Final = _places(
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "cache_read_input_tokens",
    "cachedContentTokenCount",
    "cacheReadInputTokens",
    "cacheReadInputTokenCount",
)
_REASONING: Final = _places(
    "completion_tokens_details.reasoning_tokens",
    "output_tokens_details.reasoning_tokens",
    "thoughtsTokenCount",
)


def report_tokens(view: View, usage: Any) -> None:
    """Put what `usage` says into `view`; what it does not say stays as it was said before."""
    said = object_of(usage)
    if not said:
        return
    view.input_tokens = _first(said, _INPUT, view.input_tokens)
    view.output_tokens = _first(said, _OUTPUT, view.output_tokens)
    view.cached_input_tokens = _first(said, _CACHED, view.cached_input_tokens)
    view.reasoning_tokens = _first(said, _REASONING, view.reasoning_tokens)


def _first(usage: dict[str, Any], places: _Places, otherwise: int | None) -> int | None:
    for outer, inner in places:
        if outer in usage:
            said = usage[outer]
            count = count_of(object_of(said).get(inner) if inner else said)
            if count is not None:
                return count
    return otherwise
