"""`Server-Timing` (W3C Server Timing, section 2): the model's own phases. Pure."""

import re
from dataclasses import dataclass
from typing import Final

MOST_PHASES: Final = 64
# A quoted text may hold commas and semicolons.
_METRIC: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_PARAMETER: Final = re.compile(r';\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"]*)')
_NAME: Final = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)")
_MILLISECONDS: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of the model's work."""

    name: str
    # Zero where none was said.
    duration_us: int
    description: str


def read_phases(value: str) -> list[Phase]:
    """The phases that a header's value lists; what can't be read is left out."""
    phases = []
    for metric in _METRIC.findall(value[:8192])[:MOST_PHASES]:
        name = _NAME.match(metric)
        if name is None:
            continue
        said: dict[str, str] = {}
        for key, text in _PARAMETER.findall(metric[name.end() :]):
            said.setdefault(key.lower(), text.strip())  # of two the first counts
        phases.append(Phase(name[1], _duration(said.get("dur", "")), _unquoted(said.get("desc", ""))))
    return phases


def _duration(text: str) -> int:
    text = _unquoted(text)
    return round(float(text) * 1000) if _MILLISECONDS.fullmatch(text) else 0


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
