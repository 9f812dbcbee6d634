"""Bedrock's invoke, of models that have no reader of their own; each by its own names."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("request_body", "answer", "parameters", "reasons", "tokens"),
    [
        (
            {"inputText": "x", "textGenerationConfig": {"temperature": 1, "maxTokenCount": 4}},
            {
                "inputTextTokenCount": 5,
                "results": [{"tokenCount": 6, "completionReason": "FINISH"}, {"tokenCount": 1}],
            },
            {"temperature": 1, "maxTokenCount": 4},
            ["FINISH"],
            (5, 7),
        ),
        (
            {"prompt": "x", "max_gen_len": 4, "top_p": 0.5},
            {"prompt_token_count": 5, "generation_token_count": 6, "stop_reason": "length"},
            {"max_gen_len": 4, "top_p": 0.5},
            ["length"],
            (5, 6),
        ),
        (
            {"prompt": "x", "max_tokens": 4, "stop": ["a"]},
            {"outputs": [{"text": "y", "stop_reason": "stop"}, 5]},
            {"max_tokens": 4, "stop": ["a"]},
            ["stop"],
            (None, None),
        ),
        (
            {"inferenceConfig": {"maxTokens": 4}},
            {"stopReason": "end_turn", "usage": {"inputTokens": 5, "outputTokens": 6}},
            {"maxTokens": 4},
            ["end_turn"],
            (5, 6),
        ),
        ({}, {"results": "x", "outputs": 5, "inputTextTokenCount": "y"}, {}, [], (None, None)),
    ],
    ids=["titan", "llama", "mistral", "nova", "odd"],
)
def test_invoke(
    read, request_body: Any, answer: Any, parameters: Any, reasons: list[str], tokens: tuple[Any, Any]
) -> None:
    """Parameters, finish reasons and tokens."""
    view = read("/model/any.model-v1%3A0/invoke", request_body, answer)
    assert (view.api, view.model_name, view.is_odd) == ("bedrock", "any.model-v1:0", False)
    assert (view.parameters, view.finish_reasons) == (parameters, reasons)
    assert (view.input_tokens, view.output_tokens) == tokens
