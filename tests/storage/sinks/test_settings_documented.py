"""Every setting of every kind of sink stands in docs/sinks.md."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from storage.sinks.kinds import KINDS
from storage.sinks.sink_table import SinkTable

DOCS = Path(__file__).parents[3] / "docs/sinks.md"
# What the kinds need, at least.
NEEDED = {
    "url": "https://127.0.0.1:1/a",
    "path": "/tmp/none.jsonl",
    "brokers": "127.0.0.1:1",
    "topic": "t",
}


class Noted(dict[str, Any]):
    """Notes which settings are asked for."""

    def __init__(self, kind: str) -> None:
        super().__init__(NEEDED | ({"url": "/tmp/none"} if kind in ("objects", "delta") else {}))
        self.asked: set[str] = set()

    def pop(self, key: str, *default: Any) -> Any:
        self.asked.add(key)
        return super().pop(key, *default)


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_documented(kind: str) -> None:
    """In backquotes or in an example: what nobody can read of is no setting."""
    table = SinkTable("events", {})
    noted = Noted(kind)
    table._left = noted
    importlib.import_module(KINDS[kind].module).read_kind(table)
    assert noted.asked
    documented = set(
        re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`|^    .*$", DOCS.read_text(), re.MULTILINE)))
    )
    assert noted.asked <= documented
