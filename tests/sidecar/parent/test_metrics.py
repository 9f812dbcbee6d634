"""Prometheus text: complete, well formed, and true to the page."""

import re

from sidecar.account import draw_up
from sidecar.counters import RECORDER_COUNTERS, RELAY_COUNTERS
from sidecar.parent.metrics import RECORDER_MEANINGS, RELAY_MEANINGS, Vitals, exposition

SAMPLE = re.compile(r"([a-z_]+)(?:\{([a-z]+=\"[a-z0-9_]*\"(?:,[a-z]+=\"[a-z0-9_]*\")*)\})? (-?[0-9.e+]+)")
VITALS = Vitals([True, False], True, 0.25, 3, 1, False)


def page() -> str:
    relays = [{name: 100 * slot + n for n, name in enumerate(RELAY_COUNTERS)} for slot in (0, 1)]
    recorder = {name: 1000 + n for n, name in enumerate(RECORDER_COUNTERS)}
    return exposition(relays, recorder, draw_up(relays, recorder), VITALS)


def test_every_counter_has_a_meaning() -> None:
    """No counter of the page is missing in the metrics, and none is made up."""
    assert set(RELAY_MEANINGS) == set(RELAY_COUNTERS)
    assert set(RECORDER_MEANINGS) == set(RECORDER_COUNTERS)


def test_text_is_well_formed() -> None:
    """Each metric has HELP and TYPE once, before its samples; no sample appears twice."""
    described: set[str] = set()
    typed: set[str] = set()
    samples: set[tuple[str, str]] = set()
    for line in page().splitlines():
        if line.startswith("# HELP "):
            assert line.split(" ")[2] not in described
            described.add(line.split(" ")[2])
        elif line.startswith("# TYPE "):
            assert line.split(" ")[3] in ("counter", "gauge")
            typed.add(line.split(" ")[2])
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] in described
            assert match[1] in typed
            assert (match[1], match[2]) not in samples
            samples.add((match[1], match[2]))
    assert described == typed == {metric for metric, _ in samples}


def test_values_are_the_pages() -> None:
    """A counter shows its value by relay, with the reason as label where there is one."""
    lines = page().splitlines()
    seen = RELAY_COUNTERS.index("seen")
    full = RELAY_COUNTERS.index("shed_handoff_full")
    assert f'infertap_relay_seen_total{{relay="1"}} {100 + seen}' in lines
    assert f'infertap_relay_shed_total{{relay="0",reason="handoff_full"}} {full}' in lines
    assert f"infertap_recorder_pending {1000 + RECORDER_COUNTERS.index('pending')}" in lines
    assert 'infertap_account_balanced{line="calls"} 0' in lines
    assert 'infertap_process_up{process="relay",slot="1"} 0' in lines
    assert 'infertap_process_restarts_total{process="relay"} 3' in lines
