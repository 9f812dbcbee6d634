"""Preferences: pairs of a better and a worse answer to the same prompt, from what people said of calls.

    {"prompt": [messages], "chosen": [message], "rejected": [message], "tools": [...],
     "source": "correction" | "thumb" | "rating", "call_ids": [chosen's, rejected's]}

- *correction*: of each call with corrections, the latest of them is chosen, what the model said rejected.
- *thumb*: of answers to one prompt, one with more thumbs up than down is chosen, one with more down rejected.
- *rating*: where a prompt has no such pair, the answer with the highest mean rating against that with the
  lowest.

Prompts are the same where messages, tools and model are; answers where their messages are. A pair of the same
answer twice is none. Of several that are as good, the latest counts. One pair for each prompt, and one for
each corrected call.

What is known of prompts is in a temporary SQLite file, so memory is bounded whatever is read; the pairs come
out once all is read, so an export that is broken off begins anew.
"""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from infertap import v1
from infertap.export.chats import Conversation, conversation
from infertap.export.parts import json_line
from infertap.export.places import File

NO_OPINION: Final = "no thumb, rating or correction"
_TABLES: Final = """
CREATE TABLE prompts (prompt BLOB PRIMARY KEY, text TEXT);
CREATE TABLE answers (prompt BLOB, answer BLOB, text TEXT, call_id TEXT, at INTEGER, thumbs INTEGER,
    rating REAL, ratings INTEGER, PRIMARY KEY (prompt, answer));
CREATE TABLE corrections (prompt BLOB, chosen TEXT, rejected TEXT, call_id TEXT);
"""
_ADD_ANSWER: Final = """
INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    call_id = excluded.call_id, at = excluded.at, thumbs = thumbs + excluded.thumbs,
    rating = rating + excluded.rating, ratings = ratings + excluded.ratings
"""
# A prompt's best answer and its worst, of those whose `value` is known.
_PAIRS: Final = """
WITH valued AS (SELECT prompt, text, call_id, at, {value} AS value FROM answers WHERE {known}),
ranked AS (SELECT *,
    row_number() OVER (PARTITION BY prompt ORDER BY value DESC, at DESC, call_id) AS from_best,
    row_number() OVER (PARTITION BY prompt ORDER BY value, at DESC, call_id) AS from_worst FROM valued)
SELECT prompts.text, best.text, worst.text, best.call_id, worst.call_id
FROM ranked AS best JOIN ranked AS worst USING (prompt) JOIN prompts USING (prompt)
WHERE best.from_best = 1 AND worst.from_worst = 1 AND best.value > worst.value ORDER BY prompt
"""
_BY_THUMB: Final = _PAIRS.format(value="(thumbs > 0) - (thumbs < 0)", known="thumbs != 0")
_BY_RATING: Final = _PAIRS.format(
    value="rating / ratings",
    known="ratings > 0 AND prompt NOT IN"
    " (SELECT prompt FROM answers GROUP BY prompt HAVING max(thumbs) > 0 AND min(thumbs) < 0)",
)
_CORRECTED: Final = """
SELECT prompts.text, chosen, rejected, call_id, call_id FROM corrections JOIN prompts USING (prompt)
ORDER BY corrections.rowid
"""


class Pairs:
    """The one part of an export of preferences."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._known = sqlite3.connect("")  # a temporary file of SQLite's own, gone with the process
        self._known.executescript(_TABLES)
        self.rows, self.size_bytes = 0, 0
        self.skipped: Counter[str] = Counter()

    def add(self, records: Sequence[v1.Record]) -> None:
        """Take some more."""
        for record in records:
            read = conversation(record)
            if isinstance(read, str):
                self.skipped[read] += 1
            elif not self._learn(record, read):
                self.skipped[NO_OPINION] += 1

    def finish(self) -> None:
        """Write the pairs."""
        for pair in self._pairs():
            line = json_line(pair)
            self._file.stream.write(line)
            self.rows += 1
            self.size_bytes += len(line)

    def keep(self) -> None:
        """Make it appear."""
        self._known.close()
        self._file.keep()

    def discard(self) -> None:
        """Leave nothing of it."""
        self._known.close()
        self._file.discard()

    def _learn(self, record: v1.Record, read: Conversation) -> bool:
        """Whether feedback says anything of the answer."""
        prompt = _canonical({"messages": read.messages, **read.beside, "model": record.model.name})
        answer = _canonical(read.answer)
        key = _digest(prompt)
        thumbs = sum(_SIGNS.get(each.thumb, 0) for each in record.feedback)
        ratings = [each.rating for each in record.feedback if each.HasField("rating")]
        corrections = [each.correction for each in record.feedback if each.correction]
        if not (thumbs or ratings or corrections):
            return False
        self._known.execute("INSERT OR IGNORE INTO prompts VALUES (?, ?)", (key, prompt))
        at = record.timing.start.seconds
        row = (key, _digest(answer), answer, record.call_id, at, thumbs, sum(ratings), len(ratings))
        self._known.execute(_ADD_ANSWER, row)
        if corrections:  # feedback is latest first
            chosen = _canonical({"role": "assistant", "content": corrections[0]})
            if chosen != answer:
                self._known.execute(
                    "INSERT INTO corrections VALUES (?, ?, ?, ?)", (key, chosen, answer, record.call_id)
                )
        return True

    def _pairs(self) -> Iterator[dict[str, Any]]:
        for source, query in (("correction", _CORRECTED), ("thumb", _BY_THUMB), ("rating", _BY_RATING)):
            for row in self._known.execute(query):
                yield _pair(source, row)


_SIGNS: Final[dict[int, int]] = {v1.THUMB_UP: 1, v1.THUMB_DOWN: -1}


def _pair(source: str, row: Sequence[Any]) -> dict[str, Any]:
    prompt, chosen, rejected, chosen_id, rejected_id = row
    asked = json.loads(prompt)
    tools = {"tools": asked["tools"]} if "tools" in asked else {}
    return {
        "prompt": asked["messages"],
        "chosen": [json.loads(chosen)],
        "rejected": [json.loads(rejected)],
        **tools,
        "source": source,
        "call_ids": [chosen_id, rejected_id],
    }


def _canonical(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
