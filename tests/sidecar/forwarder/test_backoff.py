"""How long to wait before the next attempt."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.forwarder.backoff import FIRST_SECONDS, LONGEST_SECONDS, Backoff


def test_doubles_up_to_the_longest() -> None:
    """The longest wait that is due doubles with each failure, up to a limit, for ever."""
    backoff = Backoff()
    waits = [backoff.failed(1.0) for _ in range(2000)]
    assert waits[:4] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS, 8 * FIRST_SECONDS]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_SECONDS


def test_success_starts_over() -> None:
    """After a success the first wait is due again."""
    backoff = Backoff()
    for _ in range(5):
        backoff.failed(1.0)
    backoff.succeeded()
    assert backoff.failed(1.0) == FIRST_SECONDS


@given(st.floats(0, 1), st.integers(0, 50))
def test_jitter(fraction: float, failures: int) -> None:
    """The wait is that fraction of the longest."""
    whole, part = Backoff(), Backoff()
    for _ in range(failures):
        whole.failed(1.0)
        part.failed(1.0)
    assert part.failed(fraction) == whole.failed(1.0) * fraction
