"""What wrk says."""

import pytest

from bench.load import LoadError
from bench.load.wrk import read

SAID = "Running 1s test\nP50 160.000000 P90 190.000000 P99 212.000000 US {us} CALLS {calls} ERR {err}\n"


def test_figures() -> None:
    """Rate from calls and time, percentiles as said."""
    assert read(SAID.format(us="2000000.000000", calls=100, err=0)) == {
        "requests_per_second": 50.0,
        "p50_us": 160.0,
        "p90_us": 190.0,
        "p99_us": 212.0,
        "calls": 100.0,
    }


@pytest.mark.parametrize(
    "said",
    [
        SAID.format(us="1.0", calls=100, err=1),
        SAID.format(us="1.0", calls=0, err=0),
        "unable to connect to 127.0.0.1:1 Connection refused",
    ],
)
def test_failures(said: str) -> None:
    """A call that failed, no call at all, and no figures, are errors."""
    with pytest.raises(LoadError, match="wrk"):
        read(said)
