"""Where strings stand in documents, by columns."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.recorder.redaction.places import Place, columns
from sidecar.recorder.redaction.tree import MAX_DEPTH, TooDeepError

KEYS = st.sampled_from(["a", "b", "index", "choices"])
DOCUMENTS = st.recursive(
    st.sampled_from(["", "x", "yy", 0, 1, 2.5, True, None]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def walked(documents: list[Any]) -> dict[Place, list[str]]:
    """The same, found member by member."""
    found: dict[Place, list[str]] = {}

    def walk(node: Any, place: Place) -> None:
        for key, member in enumerate(node) if isinstance(node, list) else node.items():
            index = member.get("index") if isinstance(node, list) and isinstance(member, dict) else None
            here = (*place, index if isinstance(index, int) else key)
            if isinstance(member, str):
                found.setdefault(here, []).append(member)
            elif isinstance(member, dict | list):
                walk(member, here)

    for document in documents:
        if isinstance(document, dict | list):
            walk(document, ())
    return found


@given(st.lists(DOCUMENTS, max_size=6) | DOCUMENTS.map(lambda one: [copy.deepcopy(one) for _ in range(3)]))
@settings(max_examples=400)
def test_columns_hold_what_stands_at_each_place(documents: list[Any]) -> None:
    """Columns are what a walk finds: each place once, its strings in the documents' order, and writable."""
    listed = list(columns(documents))
    assert {column.place: list(column.parts) for column in listed} == walked(documents)
    assert len({column.place for column in listed}) == len(listed)
    for column in listed:
        column.put([f"{part}!" for part in column.parts])
    assert walked(documents) == {column.place: [f"{part}!" for part in column.parts] for column in listed}


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_what_is_too_deep_is_told(wrap: Any) -> None:
    """Documents deeper than the limit raise TooDeepError, those at it do not."""
    document: Any = "x"
    for _ in range(MAX_DEPTH + 1):
        document = wrap(document)
    assert [column.parts for column in columns([document, document])] == [["x", "x"]]
    with pytest.raises(TooDeepError):
        list(columns([wrap(document)]))
