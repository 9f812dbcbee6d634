"""The measure of redaction: what counts as found, intervals, and a run in small."""

import random

import pytest

from bench.redaction import Sizes, Tally, is_seen, measured, results_of, wilson
from bench.redaction_encodings import ENCODINGS, Encoding
from bench.redaction_hostile import INPUTS, milliseconds
from bench.redaction_report import report, verdicts
from bench.redaction_texts import CLEAN, sentence
from bench.redaction_values import MAKERS, PROMISED
from infertap import v1
from sidecar import config
from sidecar.recorder.conversion import Conversion

SMALL = Sizes(2, 1, 20, 20)


@pytest.mark.parametrize(
    ("count", "total", "low", "high"), [(500, 500, 0.9924, 1.0), (495, 500, 0.9768, 0.9957), (0, 0, 0.0, 1.0)]
)
def test_wilson(count: int, total: int, low: float, high: float) -> None:
    """The interval is the one that tables give."""
    assert wilson(count, total) == pytest.approx((low, high), abs=1e-3)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda each: each.name)
def test_what_is_left_is_seen(encoding: Encoding) -> None:
    """With redaction off the measure sees values in every encoding: else it could find nothing missed."""
    tally = measured(SMALL, encoding.name)
    assert tally.unseen == []
    assert all(tally.found[kind] == tally.asked[kind] == 2 for kind in PROMISED)
    assert tally.clean >= 20


def test_half_a_value_is_a_miss() -> None:
    """A value of which one half is left does not count as found."""
    conversion = Conversion(config.read({"INFERTAP_REDACT": "none"}), None, bytes(16))
    plain = ENCODINGS[0]
    converted = conversion.convert(0, plain.make("4111 1111 <payment_card>"), 0)
    assert converted is not None

    assert is_seen("4111 1111 1111 1111", v1.Record.FromString(converted.record), plain)


def test_report() -> None:
    """A miss is short of the bar, and told."""
    tally = Tally("plain")
    for kind in MAKERS:
        tally.asked[kind] = tally.found[kind] = 500
    tally.found["iban"] = 490
    tally.clean, tally.false["email"] = 1000, 2
    results = results_of([tally], {"digits": 60.0}, 1.0)
    lines = verdicts(results)
    assert [line.rpartition(": ")[2] for line in lines] == ["short"] * 3
    page = report(results, [("plain", "iban", "DE00")], [("email", "a@b")])
    assert "0.98 (0.964)" in page
    assert "`iban`: `DE00`, in plain" in page


def test_texts() -> None:
    """Values stand whole in their sentences; clean fields say something."""
    rng = random.Random(1)
    for kind, make in MAKERS.items():
        value = make(rng)
        assert value in sentence(rng, kind, value)
    assert all(make(rng) for make in CLEAN.values())


def test_hostile() -> None:
    """Each hostile text is made to its size, and is redacted in some time."""
    for make in INPUTS.values():
        data = make(4096)
        assert 4000 < len(data) <= 4096
        assert milliseconds(data) > 0
