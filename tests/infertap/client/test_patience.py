"""What is asked again, when, and for how long."""

import grpc
import pytest

from infertap.client.patience import Patience

AWAY = grpc.StatusCode.UNAVAILABLE


def test_pauses_grow_and_end() -> None:
    """Twice as long each time, up to a half shorter by chance, as often as there are attempts."""
    longest = Patience(attempts=4).begin(0.0, share=lambda: 0.0)
    assert [longest.pause(AWAY, 0.0) for _ in range(4)] == [0.1, 0.2, 0.4, None]
    shortest = Patience(attempts=3).begin(0.0, share=lambda: 1.0)
    assert [shortest.pause(AWAY, 0.0) for _ in range(3)] == [0.05, 0.1, None]
    many = Patience(attempts=20).begin(0.0, share=lambda: 0.0)
    assert [many.pause(AWAY, 0.0) for _ in range(10)][-1] == 5.0


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.UNAVAILABLE]
)
def test_only_who_was_not_there_is_asked_again(code: grpc.StatusCode) -> None:
    """Every other failure is an answer, but that exports wait where others do."""
    assert Patience().begin(0.0).pause(code, 0.0) is None
    of_export = Patience().begin(0.0, is_export=True).pause(code, 0.0)
    assert (of_export is not None) == (code is grpc.StatusCode.RESOURCE_EXHAUSTED)


def test_deadline() -> None:
    """There is no pause beyond the deadline, which moves when something came."""
    trying = Patience(attempts=9, deadline_seconds=10).begin(100.0, share=lambda: 0.0)
    assert trying.left(104.0) == 6
    assert trying.left(111.0) == 0
    assert trying.pause(AWAY, 109.95) is None
    trying.progressed(109.95)
    assert trying.left(110.95) == 9
    assert trying.pause(AWAY, 110.95) == 0.1
