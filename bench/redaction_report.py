"""Redaction report: results as Markdown: the bars, recall, false positives, what was missed. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from bench.redaction_values import MAKERS, PROMISED
from bench.results import Results, Row

RECALL: Final = 0.99
RECALL_LOW: Final = 0.98
FALSE_PER_1000: Final = 1.0
HOSTILE_MS: Final = 50.0
_CORPUS: Final = "corpus"
_HOSTILE: Final = "hostile"

_PREFACE: Final = """\
# Redaction, measured

Made by `make bench-redaction`; don't edit. Made-up values of each class stand in sentences, carried in each
encoding, and go through the recorder's own conversion with all classes on. The values, sentences and clean
fields are generated from templates that share nothing with the rules; the same values go through each
encoding. A value is found where no half of it is left in the record, nor in what the record's encodings hide;
with redaction off all of them are seen. Clean fields are timestamps, UUIDs, hashes, floats, versions, order
numbers, source code, log lines and prompts. Intervals are Wilson's, of 95 %.

The bars hold for the classes in the first table: recall at least 0.99 with a lower end of at least 0.98 in
each encoding, at most one false positive in 1,000 clean fields. The other classes, phone numbers among them,
are measured and not promised. Names and free-text addresses are not looked for."""


def verdicts(results: Results) -> list[str]:
    """A line for each bar, ending in `reached` or `short`."""
    rows = [row for row in results.rows if row.scenario not in (_CORPUS, _HOSTILE) and row.system in PROMISED]
    recall = [row for row in rows if row.metric == "recall"]
    missed = [row for row in recall if row.value < RECALL or row.low < RECALL_LOW]
    false = [row for row in rows if row.metric == "false_positives_per_1000"]
    wrong = [row for row in false if row.value > FALSE_PER_1000]
    slow = [row for row in results.rows if row.scenario == _HOSTILE and row.value > HOSTILE_MS]
    return [
        _verdict(f"recall, {len(recall)} classes in encodings", missed),
        _verdict(f"false positives, {len(false)} classes in encodings", wrong),
        _verdict(f"hostile texts of 1 MiB under {HOSTILE_MS:.0f} ms", slow),
    ]


def _verdict(what: str, short: Sequence[Row]) -> str:
    if not short:
        return f"{what}: reached"
    named = ", ".join(f"{row.scenario}/{row.system} {row.value:.3g}" for row in short[:20])
    return f"{what}: {len(short)} not ({named}): short"


def report(
    results: Results, misses: Iterable[tuple[str, str, str]], mistakes: Iterable[tuple[str, str]]
) -> str:
    """The whole page. `misses` are (encoding, class, text), `mistakes` (class, text): made up, every one."""
    encodings = [name for name in results.scenarios if name not in (_CORPUS, _HOSTILE)]
    parts = [
        _PREFACE,
        f"{results.date}; {results.machine.get('cpu')}.",
        "\n".join(f"- {line}" for line in verdicts(results)),
        "## Recall of what is promised",
        "Found of all, and the lower end of the interval.",
        _table(results, encodings, list(PROMISED)),
        "## Recall of what is measured",
        "Over all encodings.",
        _measured(results, encodings),
        "## Found by leaving the body out",
        _withheld(results),
        "## False positives in 1,000 clean fields",
        _false(results, encodings),
        "## Texts that people made",
        _corpus(results),
        "## Hostile texts",
        "CPU time for 1 MiB of each, in milliseconds.",
        _hostile(results),
        "## Missed",
        _listed(f"`{kind}`: `{_shown(text)}`, in {encoding}" for encoding, kind, text in misses),
        "## Taken for what they are not",
        _listed(f"`{kind}`: `{_shown(text)}`" for kind, text in mistakes),
    ]
    return "\n\n".join(parts) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), _line("---" for _ in cells)]


def _by_place(results: Results, metric: str) -> dict[tuple[str, str], Row]:
    return {(row.scenario, row.system): row for row in results.rows if row.metric == metric}


def _table(results: Results, encodings: Sequence[str], kinds: Sequence[str]) -> str:
    rows = _by_place(results, "recall")
    lines = _head(["encoding", *kinds])
    for encoding in encodings:
        found = [rows.get((encoding, kind)) for kind in kinds]
        lines.append(_line([encoding, *(f"{row.value:.4g} ({row.low:.3f})" if row else "" for row in found)]))
    return "\n".join(lines)


def _measured(results: Results, encodings: Sequence[str]) -> str:
    rows = _by_place(results, "recall")
    lines = _head(["class", "least", "most", "least in"])
    for kind in MAKERS:
        if kind not in PROMISED:
            found = [rows[encoding, kind] for encoding in encodings if (encoding, kind) in rows]
            worst, best = min(found, key=_value), max(found, key=_value)
            where = worst.scenario if worst.value < best.value else ""
            lines.append(_line([kind, f"{worst.value:.3g}", f"{best.value:.3g}", where]))
    return "\n".join(lines)


def _value(row: Row) -> float:
    return row.value


def _withheld(results: Results) -> str:
    rows = [row for row in results.rows if row.metric == "withheld_share" and row.value]
    shares: dict[str, list[float]] = {}
    for row in rows:
        shares.setdefault(row.scenario, []).append(row.value)
    if not shares:
        return "None."
    return "\n".join(
        f"- {name}: {min(each):.1%} to {max(each):.1%} of a class" for name, each in shares.items()
    )


def _false(results: Results, encodings: Sequence[str]) -> str:
    rows = _by_place(results, "false_positives_per_1000")
    kinds = list(dict.fromkeys(row.system for row in rows.values() if row.value and row.scenario != _CORPUS))
    if not kinds:
        return "None, in any encoding."
    lines = _head(["encoding", *kinds])
    for encoding in encodings:
        found = [rows.get((encoding, kind)) for kind in kinds]
        cells = [f"{row.value:.2f} ({row.low:.2f} to {row.high:.2f})" if row else "" for row in found]
        lines.append(_line([encoding, *cells]))
    return "\n".join(lines)


def _corpus(results: Results) -> str:
    rows = [row for row in results.rows if row.scenario == _CORPUS and row.metric == "recall"]
    if not rows:
        return "Not measured: the corpus was not there."
    lines = _head(["class", "recall", "interval"])
    lines += [_line([row.system, f"{row.value:.3f}", f"{row.low:.3f} to {row.high:.3f}"]) for row in rows]
    return "\n".join(lines)


def _hostile(results: Results) -> str:
    rows = [row for row in results.rows if row.scenario == _HOSTILE]
    return "\n".join([*_head(["text", "ms"]), *(_line([row.system, f"{row.value:.0f}"]) for row in rows)])


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or "None."


def _shown(text: str) -> str:
    return text.replace("`", "'").replace("\n", " ")[:100]
