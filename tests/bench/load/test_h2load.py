"""What h2load says."""

import pytest

from bench.load import LoadError
from bench.load.h2load import read

SAID = """\
finished in 1.00s, {rate} req/s, 14.02MB/s
requests: 4 total, 8 started, 4 done, {good} succeeded, {bad} failed, 0 errored, 0 timeout
status codes: 4 2xx, 0 3xx, 0 4xx, 0 5xx
"""
LOG = "1763713000000001\t200\t300\n1763713000000002\t200\t100\n1763713000000003\t200\t200\n"


def test_figures() -> None:
    """The rate as said, percentiles from the lines of the log."""
    assert read(SAID.format(rate="83987.00", good=4, bad=0), LOG) == {
        "requests_per_second": 83987.0,
        "p50_us": 200.0,
        "p90_us": 300.0,
        "p99_us": 300.0,
        "calls": 4.0,
    }


@pytest.mark.parametrize(
    "said",
    [SAID.format(rate="4.00", good=3, bad=1), SAID.format(rate="0.00", good=0, bad=0), "Segmentation fault"],
)
def test_failures(said: str) -> None:
    """A call that failed, none that succeeded, and no figures, are errors."""
    with pytest.raises(LoadError, match="h2load"):
        read(said, LOG)
