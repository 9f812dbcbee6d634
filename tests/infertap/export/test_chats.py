"""Records of chats become lines for fine-tuning; what can't be learned from is passed over for a reason."""

import json
from typing import Any

import pytest

from infertap import v1
from infertap.export.chats import (
    ANSWER_CUT,
    NO_ANSWER,
    NOT_A_CHAT,
    NOT_COMPLETED,
    NOT_UNDERSTOOD,
    NOT_WHOLE,
    to_fine_tuning,
)

ASKED = {
    "model": "m",
    "temperature": 0.5,
    "stream": True,
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Mail to <email>?"}]},
    ],
    "tools": [{"type": "function", "function": {"name": "mail"}}],
}
ANSWER = {"role": "assistant", "content": "Sent.", "refusal": None, "annotations": []}


def chat(asked: Any = None, answered: Any = None, **fields: Any) -> v1.Record:
    record = v1.Record(call_id="c-1", **({"state": v1.COMPLETED} | fields))
    record.model.api, record.model.operation = "openai", "chat"
    record.request.data = json.dumps(ASKED if asked is None else asked).encode()
    choices = {"choices": [{"index": 0, "message": ANSWER, "finish_reason": "stop"}]}
    record.response.data = json.dumps(choices if answered is None else answered).encode()
    return record


def test_a_chat() -> None:
    """The messages in order, the answer behind them, the tools beside; parameters are not part of it."""
    assert to_fine_tuning(chat()) == {
        "messages": [*ASKED["messages"], {"role": "assistant", "content": "Sent."}],
        "tools": ASKED["tools"],
    }


def test_a_stream() -> None:
    """Of a streamed answer the decoded view counts, not the events."""
    record = chat()
    record.response.decoded_json = record.response.data.decode()
    record.response.data = b"data: {...}\n\ndata: [DONE]\n\n"
    made = to_fine_tuning(record)
    assert isinstance(made, dict)
    assert made["messages"][-1]["content"] == "Sent."


def test_tool_calls_are_an_answer() -> None:
    """An answer may be calls of tools and no text."""
    calls = [{"id": "1", "type": "function", "function": {"name": "mail", "arguments": "{}"}}]
    answered = {
        "choices": [{"message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}]
    }
    made = to_fine_tuning(chat(answered=answered))
    assert isinstance(made, dict)
    assert made["messages"][-1] == {"role": "assistant", "tool_calls": calls}


def _other(**model: str) -> v1.Record:
    record = chat()
    record.model.MergeFrom(v1.Model(**model))
    return record


def _cut(side: str) -> v1.Record:
    record = chat()
    getattr(record, side).truncated = True
    return record


def _withheld() -> v1.Record:
    record = chat()
    record.response.data = b""
    return record


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (_other(operation="embeddings"), NOT_A_CHAT),
        (_other(api="anthropic"), NOT_A_CHAT),
        (v1.Record(), NOT_A_CHAT),
        (chat(state=v1.FAILED), NOT_COMPLETED),
        (chat(state=v1.CANCELLED), NOT_COMPLETED),
        (_cut("request"), NOT_WHOLE),
        (_cut("response"), NOT_WHOLE),
        (_withheld(), NOT_WHOLE),
        (chat(asked=[1]), NOT_WHOLE),
        (chat(asked={"messages": "hello"}), NOT_UNDERSTOOD),
        (chat(asked={"messages": []}), NOT_UNDERSTOOD),
        (chat(asked={"messages": [{"content": "x"}]}), NOT_UNDERSTOOD),
        (chat(answered={"choices": []}), NO_ANSWER),
        (chat(answered={"choices": "x"}), NO_ANSWER),
        (chat(answered={"choices": [{"message": {"content": ""}}]}), NO_ANSWER),
        (chat(answered={"choices": [{"message": ANSWER, "finish_reason": "length"}]}), ANSWER_CUT),
        (chat(answered={"choices": [{"message": ANSWER, "finish_reason": "content_filter"}]}), ANSWER_CUT),
    ],
)
def test_what_is_passed_over(record: v1.Record, reason: str) -> None:
    """Each record that is no whole conversation is passed over, and why is said."""
    assert to_fine_tuning(record) == reason


def test_a_body_of_any_shape() -> None:
    """Whatever JSON the bodies are, there is a line or a reason."""
    from hypothesis import given
    from hypothesis import strategies as st

    keys = st.sampled_from(["messages", "choices", "message", "role", "content", "finish_reason", "tools"])
    leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
    tree = st.recursive(
        leaves, lambda kids: st.lists(kids, max_size=3) | st.dictionaries(keys, kids, max_size=4)
    )

    @given(tree, tree)
    def holds(asked: Any, answered: Any) -> None:
        made = to_fine_tuning(chat(asked=asked, answered=answered))
        assert isinstance(made, dict | str)

    holds()
