"""The HTTP/1 framer against llhttp's fixtures: it sees the same messages, or says that it can't follow.

Never may it see other messages in silence: that is how requests hide behind another.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.protocols import Answer, Kind, RequestFramer, ResponseFramer, ResponseHead, Stop

CORPUS = Path(__file__).parents[4] / "shared" / "corpora" / "http1" / "test"

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="llhttp's fixtures are not beside the project")

_SECTION = re.compile(r"^#+ ", re.MULTILINE)
_META = re.compile(r"^<!-- meta=(.*) -->$", re.MULTILINE)
_BLOCK = re.compile(r"^```(http|log)\n(.*?)\n```$", re.MULTILINE | re.DOTALL)

# What llhttp refuses for other reasons than where messages end: known methods, a clean path.
_NOT_ABOUT_FRAMING = {
    "Expected space after method",
    "Invalid char in url path",
    "Invalid method for HTTP/x.x request",
}


@dataclass
class Message:
    """Where a head ends, the body, and where the message ends (None: it does not)."""

    head_end: int
    body: bytes = b""
    end: int | None = None


@dataclass
class Reading:
    """What one reader saw. Interim responses count as messages without a body."""

    messages: list[Message] = field(default_factory=list)
    gave_up: str = ""
    is_holding: bool = False


def fixtures() -> Iterator[object]:
    for path in sorted(CORPUS.glob("*/*.md")):
        for section in _SECTION.split(path.read_text()):
            meta, blocks = _META.search(section), dict(_BLOCK.findall(section))
            if meta and len(blocks) == 2 and "skipBody" not in meta[1]:  # told from outside to expect no body
                kind = json.loads(meta[1])["type"]
                name = f"{path.parent.name}/{path.stem}: {section.partition(chr(10))[0]} ({kind})"
                yield pytest.param(kind, raw_input(blocks["http"]), blocks["log"], id=name)


def raw_input(text: str) -> bytes:
    """The bytes that a fixture means, by the rules of llhttp's test runner."""
    text = re.sub(r"\\(\r\n|\r|\n)", "", text)
    text = re.sub(r"\r\n|\r|\n", "\r\n", text)
    text = text.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t").replace("\\f", "\f")
    return re.sub(r"\\x([0-9a-fA-F]{1,2})", lambda m: chr(int(m[1], 16)), text).encode()


def llhttp_reading(log: str, data: bytes) -> Reading:
    reading = Reading()
    for line in log.splitlines():
        offset = int(re.match(r"off=(\d+)", line)[1]) if re.match(r"off=\d", line) else 0
        if " headers complete" in line:
            reading.messages.append(Message(offset))
        elif match := re.search(r"len=(\d+) span\[body\]", line):
            reading.messages[-1].body += data[offset : offset + int(match[1])]
        elif line.endswith(" message complete"):
            reading.messages[-1].end = offset
        elif match := re.search(r'error code=\d+ reason="(.*)"', line):
            reading.gave_up = match[1]
    return reading


def our_reading(kind: str, data: bytes, size: int = 1 << 20) -> Reading:
    """What the framer sees of `data` in pieces of that size."""
    framer = RequestFramer() if kind.startswith("request") else ResponseFramer()
    if isinstance(framer, ResponseFramer):
        for _ in range(10):
            framer.expect(Answer.UPGRADE if b" 101 " in data else Answer.PLAIN)
    reading = Reading()
    consumed = 0
    for upto in range(size, len(data) + size, size):
        base = consumed
        events, taken = framer.feed(data[base:upto])
        consumed += taken
        for what, value, end in events:
            _note(reading, what, value, base + end)
    reading.is_holding = consumed < len(data)
    return reading


def _note(reading: Reading, what: Kind, value: object, end: int) -> None:
    if what is Kind.HEAD:
        is_interim = isinstance(value, ResponseHead) and value.status < 200
        reading.messages.append(Message(end, end=end if is_interim else None))
    elif what is Kind.DATA:
        assert isinstance(value, bytes)
        reading.messages[-1].body += value
    elif what is Kind.END:
        reading.messages[-1].end = end
    elif what is Kind.STOP:
        reading.gave_up = Stop(value).name


@pytest.mark.parametrize(("kind", "data", "log"), list(fixtures()))
def test_same_messages_or_said_so(kind: str, data: bytes, log: str) -> None:
    """Messages that both readers complete are the same; where llhttp sees others, the framer has stopped."""
    ours, theirs = our_reading(kind, data), llhttp_reading(log, data)
    complete = [message for message in ours.messages if message.end is not None]
    if theirs.gave_up in _NOT_ABOUT_FRAMING:
        return
    assert complete == theirs.messages[: len(complete)]
    if not ours.gave_up and not ours.is_holding:
        assert ours.messages == theirs.messages
        assert not theirs.gave_up or theirs.gave_up.startswith("Pause on")


@pytest.mark.parametrize(("kind", "data", "log"), list(fixtures()))
def test_same_messages_byte_by_byte(kind: str, data: bytes, log: str) -> None:
    """In single bytes the framer sees the same messages, and stops for the same reason, or waits for more."""
    whole, pieced = our_reading(kind, data), our_reading(kind, data, 1)
    assert pieced.messages == whole.messages
    assert pieced.gave_up == whole.gave_up
    assert pieced.is_holding == whole.is_holding


def test_the_corpus_is_read() -> None:
    """The fixtures are found: a change of their form must not turn the test above into nothing."""
    assert len(list(fixtures())) > 230
