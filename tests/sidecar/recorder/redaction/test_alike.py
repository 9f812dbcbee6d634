"""What the events of a stream have in common is looked at once."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.recorder.redaction import Findings, Redactor
from sidecar.recorder.redaction.alike import parted, suspects

SSE = "text/event-stream"
HEAD = {"id": "chatcmpl-12345678901234567890", "object": "chunk", "model": "m"}


def event(text: str, **members: object) -> dict[str, object]:
    return HEAD | {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]} | members


def stream(documents: list[dict[str, object]], **how: object) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(each, **how).encode() for each in documents)  # type: ignore[arg-type]


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.sampled_from(["x", "x,", '{"', 'y"', "\\", 1]))))
def test_nothing_is_lost_by_parting(documents: list[dict[str, object]]) -> None:
    """Head, what is left and tail are the text again; other texts are whole."""
    texts = [json.dumps(each) for each in documents]
    alike = parted(texts, [True] * len(texts))
    head, _, tail = alike.shared.partition("\n")
    for number, text in enumerate(texts):
        rest = alike.rests[number]
        assert text == (f"{head}{rest}{tail}" if number in alike.members else rest)


def test_texts_are_cut_between_members() -> None:
    """A head ends where an object begins, a tail begins at a comma that is in no string."""
    texts = [json.dumps(event(text)) for text in ("a, b", "c, b", "d, b")]
    alike = parted(texts, [True] * 3)
    assert alike.rests[0] == '{"content": "a, b"}'
    assert alike.shared.endswith('\n, "finish_reason": null}]}')
    assert alike.members == {0, 1, 2}


def test_what_is_no_document_is_left_whole() -> None:
    """A text that is no JSON shares nothing."""
    texts = ['{"a": 1, "b": 2}', '{"a": 3, "b": 2}', '{"a": 1, "b": 2}', '{"a": 3, "b": 2}']
    assert parted(texts, [False, False, True, True]).members == {2, 3}
    assert parted(["[DONE]"], [False]).rests == ["[DONE]"]


@given(st.lists(st.booleans(), max_size=70))
def test_suspects_are_those_that_are_not_clean(is_suspect: list[bool]) -> None:
    """By halves the same are found as one by one."""
    texts = ["bad" if each else "good" for each in is_suspect]
    found = suspects(texts, lambda data: b"bad" not in data)
    assert found == {number for number, each in enumerate(is_suspect) if each}


@pytest.mark.parametrize("at", [0, 1, 50, 98, 99])
@pytest.mark.parametrize(
    "members",
    [{"note": "ada@x.org"}, {"note": "ada\\u0040x.org"}, {"card": 4111111111111111}, {"password": "hunter2"}],
)
def test_one_event_of_many_is_redacted(
    redactor: Callable[..., Redactor], at: int, members: dict[str, object]
) -> None:
    """What stands in one event only is found wherever that comes, and the other events stay as they were."""
    documents = [event(f"word{number} ") for number in range(100)]
    clean = stream(documents)
    documents[at] = event("word ", **members)
    body = redactor().body(SSE, stream(documents).replace(b"\\\\", b"\\"), Findings())
    for raw in (b"ada", b"4111111111111111", b"hunter2"):
        assert raw not in body.data
    assert len(set(clean.split(b"\n\n")) - set(body.data.split(b"\n\n"))) == 1


@pytest.mark.parametrize("name", ["user", "password", "id"])
def test_what_all_events_say_is_redacted_in_each(redactor: Callable[..., Redactor], name: str) -> None:
    """A value in the head or in the tail that all events share is masked in every one of them."""
    for place in ({name: "ada@x.org"} | HEAD, HEAD):
        documents = [place | {"choices": [{"text": f"w{number}"}], "n": 0} for number in range(30)]
        if name not in place or place is HEAD:
            documents = [{**each, name: "ada@x.org"} for each in documents]
        body = redactor().body(SSE, stream(documents), Findings())
        assert b"ada@" not in body.data
        assert body.data.count(b"data: {") == 30


def test_a_head_that_only_looks_like_something_costs_no_event(redactor: Callable[..., Redactor]) -> None:
    """Digits in an id, which are nothing, leave the stream as it was."""
    data = stream([event(f"word{number} ") for number in range(40)])
    assert redactor().body(SSE, data, Findings()).data == data


def test_a_member_said_twice_in_one_event_of_many(redactor: Callable[..., Redactor]) -> None:
    """The value that the tree does not show is not in the bytes either."""
    data = stream([event(f"word{number} ") for number in range(20)])
    twice = data.replace(b'"word7 "}', b'"ada@x.org", "content": "word7 "}')
    assert twice != data
    assert b"ada@" not in redactor().body(SSE, twice, Findings()).data
