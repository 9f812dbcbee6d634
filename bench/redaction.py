"""Redaction: how much of what is to be found is masked, and how much that is clean is masked too.

    python -m bench.redaction [--brief] [--values 500] [--out FILE]

Values of `redaction_values` stand in texts of `redaction_texts`, carried in each of `redaction_encodings`,
through the recorder's own conversion, all classes on. A value is found where no half of it is in the record,
nor in what the record's encodings hide; with redaction off all are seen, or there is no result. Writes
bench/results/redaction.json and for people bench/REDACTION.md.
"""

import argparse
import json
import math
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from bench.redaction_encodings import ENCODINGS, Encoding
from bench.redaction_hostile import INPUTS, milliseconds
from bench.redaction_report import report, verdicts
from bench.redaction_texts import CLEAN, sentence
from bench.redaction_values import MAKERS, PROMISED
from bench.results import UNITS, Missing, Results, Row, Run, this_machine, write
from infertap import v1
from sidecar import config
from sidecar.recorder.conversion import Conversion
from sidecar.recorder.redaction.classes import all_classes

_OUT: Final = Path("bench/results/redaction.json")
_REPORT: Final = Path("bench/REDACTION.md")
_BRIEF_OUT: Final = Path("build/bench/redaction.json")
# Texts that people made, where they are beside the project.
_CORPUS: Final = Path(__file__).parents[2] / "shared/corpora/pii/tests/data/generated_large.json"
_CORPUS_KINDS: Final = {
    "CREDIT_CARD": "payment_card",
    "EMAIL_ADDRESS": "email",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip",
    "PHONE_NUMBER": "phone",
    "US_SSN": "us_ssn",
}
_SEED: Final = 20260101
_FIELDS_A_TEXT: Final = 20
# Of each class so many misses are listed.
_LISTED: Final = 10
_LISTED_MISTAKES: Final = 20


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many values of promised and of other classes, and how many clean fields, in each encoding."""

    promised: int
    measured: int
    clean: int
    # In plain text, where most are.
    clean_plain: int


_BRIEF: Final = Sizes(12, 2, 180, 900)


@dataclass(slots=True)
class Tally:
    """What one encoding gave."""

    encoding: str
    found: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    # Found, as the whole body is left out.
    withheld: Counter[str] = field(default_factory=Counter)
    # Were seen with redaction off, of one value of each class.
    unseen: list[str] = field(default_factory=list)
    false: Counter[str] = field(default_factory=Counter)
    clean: int = 0
    # (class, text).
    misses: list[tuple[str, str]] = field(default_factory=list)
    mistakes: list[tuple[str, str]] = field(default_factory=list)


def main() -> int:
    """Measure; returns 0 where every bar is reached."""
    asked = _parse()
    sizes = _BRIEF if asked.brief else Sizes(asked.values, 100, 2700, 27000)
    out = asked.out or (_BRIEF_OUT if asked.brief else _OUT)
    page = _REPORT if out == _OUT else out.with_suffix(".md")
    started = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        tallies = list(pool.map(partial(measured, sizes), [each.name for each in ENCODINGS]))
    blind = [f"{tally.encoding}: {', '.join(tally.unseen)}" for tally in tallies if tally.unseen]
    corpus = corpus_tally(_CORPUS)
    # Alone: two at a time would share caches.
    hostile = {name: milliseconds(make(1 << 20)) for name, make in INPUTS.items()}
    results = results_of([*tallies, *([corpus] if corpus else [])], hostile, time.monotonic() - started)
    write(out, results)
    page.write_text(report(results, _misses(tallies), tallies[0].mistakes[:_LISTED_MISTAKES]))
    if asked.brief:
        bad = [tally.encoding for tally in tallies if _is_bad(tally)]
        print(f"promised values were missed in: {', '.join(bad) or 'none'}; written to {out} and {page}")
        return int(bool(bad or blind))
    short = [line for line in verdicts(results) if line.endswith("short")]
    print("\n".join([*verdicts(results), *(f"NOT SEEN WITHOUT REDACTION: {each}" for each in blind)]))
    print(f"written to {out} and {page}")
    return int(bool(short or blind))


def _misses(tallies: Sequence[Tally]) -> Iterable[tuple[str, str, str]]:
    """A few of each class, with the encodings in which they were missed."""
    encodings: dict[tuple[str, str], list[str]] = {}
    for tally in tallies:
        for miss in tally.misses:
            encodings.setdefault(miss, []).append(tally.encoding)
    listed: Counter[str] = Counter()
    for (kind, text), named in encodings.items():
        listed[kind] += 1
        if listed[kind] <= _LISTED:
            yield "all encodings" if len(named) == len(tallies) else ", ".join(named), kind, text


def _is_bad(tally: Tally) -> bool:
    """A brief run can't tell shares; what is promised has to be found all the same."""
    return any(tally.found[kind] < tally.asked[kind] for kind in PROMISED)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.redaction")
    parser.add_argument("--values", type=int, default=500, help="of each class (default: 500)")
    parser.add_argument("--brief", action="store_true", help="a few of each, in seconds")
    parser.add_argument(
        "--out", type=Path, help=f"the file of figures (default: {_OUT}; brief: {_BRIEF_OUT})"
    )
    return parser.parse_args()


# -- measuring


def measured(sizes: Sizes, name: str) -> Tally:
    """One encoding: all classes, and clean fields. The same values in each encoding."""
    encoding = next(each for each in ENCODINGS if each.name == name)
    conversion, bare = _conversion("all"), _conversion("none")
    tally = Tally(name)
    for kind, make in MAKERS.items():
        rng = random.Random(f"{_SEED}{kind}")
        for number in range(sizes.promised if kind in PROMISED else sizes.measured):
            value = make(rng)
            text = sentence(rng, kind, value)
            _look_for(tally, kind, value, text, _record(conversion, encoding, text), encoding)
            if number == 0 and not is_seen(value, _record(bare, encoding, text), encoding):
                tally.unseen.append(kind)
    _count_false(tally, sizes, conversion, encoding)
    return tally


def _look_for(tally: Tally, kind: str, value: str, text: str, record: v1.Record, encoding: Encoding) -> None:
    tally.asked[kind] += 1
    if is_seen(value, record, encoding):
        tally.misses.append((kind, text))
        return
    tally.found[kind] += 1
    payload = record.response
    tally.withheld[kind] += not payload.data and not payload.decoded_json


def is_seen(value: str, record: v1.Record, encoding: Encoding) -> bool:
    """Whether a half of `value` is there to be read: what is masked in part is not found."""
    shown = encoding.shown(record)
    half = len(value) // 2 + 1
    return value[:half] in shown or value[-half:] in shown


def _count_false(tally: Tally, sizes: Sizes, conversion: Conversion, encoding: Encoding) -> None:
    rng = random.Random(_SEED)
    kinds = list(CLEAN)
    wanted = sizes.clean_plain if encoding.name == "plain" else sizes.clean
    while tally.clean < wanted:
        fields = [CLEAN[kinds[number % len(kinds)]](rng) for number in range(_FIELDS_A_TEXT)]
        rng.shuffle(kinds)
        record = _record(conversion, encoding, "\n".join(fields))
        found: Counter[str] = Counter()
        for each in record.response.redactions:
            found[getattr(each, "class")] += each.count
        tally.clean += len(fields)
        tally.false += found
        if found and encoding.name == "plain":
            tally.mistakes += _mistakes(fields, conversion, encoding)


def _mistakes(fields: Sequence[str], conversion: Conversion, encoding: Encoding) -> Iterable[tuple[str, str]]:
    """Which of `fields` were taken for what."""
    for text in fields:
        for each in _record(conversion, encoding, text).response.redactions:
            yield getattr(each, "class"), text


def _conversion(classes: str) -> Conversion:
    return Conversion(config.read({"INFERTAP_REDACT": classes}), b"of the benchmark", bytes(16))


def _record(conversion: Conversion, encoding: Encoding, text: str) -> v1.Record:
    converted = conversion.convert(0, encoding.make(text), 0)
    if converted is None:
        raise AssertionError("no rule samples here")
    return v1.Record.FromString(converted.record)


def corpus_tally(path: Path) -> Tally | None:
    """The texts of a corpus, one by one; None where it is not there."""
    try:
        texts = json.loads(path.read_text())
    except OSError:
        return None
    conversion, plain = _conversion("all"), ENCODINGS[0]
    tally = Tally("corpus")
    for each in texts:
        spans = [(_CORPUS_KINDS.get(span["entity_type"]), span["entity_value"]) for span in each["spans"]]
        record = _record(conversion, plain, each["full_text"])
        for kind, value in spans:
            if kind is not None:
                _look_for(tally, kind, value, "", record, plain)
        tally.clean += not any(kind for kind, _ in spans)
        if not any(kind for kind, _ in spans):
            for said in record.response.redactions:
                tally.false[getattr(said, "class")] += said.count
    tally.misses.clear()  # its texts are not ours to show
    return tally


# -- figures


def wilson(count: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927)."""
    if not total:
        return 0.0, 1.0
    z = 1.959964
    share = count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def results_of(tallies: Sequence[Tally], hostile: Mapping[str, float], seconds: float) -> Results:
    """All figures."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    rows = [row for tally in tallies for row in (*_recalls(tally), *_falses(tally))]
    rows += [_row("hostile", name, "ms_per_mib", value, value, value) for name, value in hostile.items()]
    names = dict.fromkeys(row.scenario for row in rows)
    missing = () if "corpus" in names else (Missing("corpus", "all", "it is not beside the project"),)
    runs = {name: Run(now, round(seconds, 1), 1) for name in names}
    return Results(this_machine(), now, {}, runs, missing, tuple(rows))


def _recalls(tally: Tally) -> Iterable[Row]:
    for kind, asked in tally.asked.items():
        low, high = wilson(tally.found[kind], asked)
        yield _row(tally.encoding, kind, "recall", tally.found[kind] / asked, low, high)
        share = tally.withheld[kind] / asked
        yield _row(tally.encoding, kind, "withheld_share", share, *wilson(tally.withheld[kind], asked))


def _falses(tally: Tally) -> Iterable[Row]:
    if not tally.clean:
        return
    for kind in sorted(all_classes() - {"street_address"} | set(tally.false)):
        count = min(tally.false[kind], tally.clean)
        low, high = wilson(count, tally.clean)
        share = 1000 * count / tally.clean
        yield _row(tally.encoding, kind, "false_positives_per_1000", share, 1000 * low, 1000 * high)


def _row(scenario: str, system: str, metric: str, value: float, low: float, high: float) -> Row:
    return Row(scenario, system, metric, value, UNITS[metric], low, high)


if __name__ == "__main__":
    sys.exit(main())
