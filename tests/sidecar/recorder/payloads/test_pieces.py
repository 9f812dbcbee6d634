"""Answers in pieces."""

from sidecar.recorder.payloads.pieces import Joined, Row


def test_joined() -> None:
    """Texts go on, lists grow, names stay, null says nothing, objects are joined member by member."""
    joined = Joined()
    joined.add({"role": "a", "text": "x", "tags": [1], "inner": {"text": "p"}, "count": 1, "id": "i"})
    joined.add(
        {"role": "b", "text": "y", "tags": [2], "inner": {"text": "q"}, "count": 2, "id": "", "n": None}
    )
    assert joined.whole() == {
        "role": "b",
        "text": "xy",
        "tags": [1, 2],
        "inner": {"text": "pq"},
        "count": 2,
        "id": "i",
    }


def test_pieces_stay_as_they_are() -> None:
    """What was joined is not changed by it."""
    piece = {"tags": [1]}
    joined = Joined()
    joined.add(piece)
    joined.add({"tags": [2]})
    assert piece == {"tags": [1]}


def test_row() -> None:
    """By index, in its order; what is no index is the place."""
    row = Row()
    row.item(2).add({"text": "c"})
    row.item("x", 1).add({"text": "b"})
    row.item(True).add({"text": "a"})
    assert row.whole() == [{"text": "a"}, {"text": "b"}, {"text": "c"}]


def test_many_pieces() -> None:
    """Time grows with the pieces, not with their square: this would otherwise take minutes."""
    joined = Joined()
    for _ in range(100_000):
        joined.text("text", "x" * 20)
    assert len(joined.whole()["text"]) == 2_000_000
