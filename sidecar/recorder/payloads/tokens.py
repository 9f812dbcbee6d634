"""Tokens: what answers report of them, by the names that each interface has. Never guessed. Pure."""

from typing import Any, Final

from sidecar.recorder.payloads.view import View, count_of, object_of

# Of these names the first that is there counts; a dot leads into an object.
_INPUT: Final = (
    "prompt_tokens",
    "input_tokens",
    "promptTokenCount",
    "inputTokens",
    "prompt_eval_count",
    "tokens.input_tokens",
    "billed_units.input_tokens",
)
_OUTPUT: Final = (
    "completion_tokens",
    "output_tokens",
    "candidatesTokenCount",
    "outputTokens",
    "eval_count",
    "tokens.output_tokens",
    "billed_units.output_tokens",
)
_CACHED: Final = (
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "cache_read_input_tokens",
    "cachedContentTokenCount",
    "cacheReadInputTokens",
    "cacheReadInputTokenCount",
)
_REASONING: Final = (
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


def _first(usage: dict[str, Any], names: tuple[str, ...], otherwise: int | None) -> int | None:
    for name in names:
        outer, dot, inner = name.partition(".")
        count = count_of(object_of(usage.get(outer)).get(inner) if dot else usage.get(name))
        if count is not None:
            return count
    return otherwise
