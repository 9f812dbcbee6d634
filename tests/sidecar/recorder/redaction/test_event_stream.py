"""Server-sent events, taken apart and written again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.recorder.redaction.event_stream import event_stream

PIECES = st.sampled_from(["data: ", "data:", "data", "event: x", "x", " ", ":", "\n", "\n\n", "\r\n", "\r"])


def as_is(line: str) -> str:
    return line


def payloads_of(text: str) -> list[str]:
    """Line by line: what follows `data:`, lines in a row joined."""
    found: list[list[str]] = []
    before = ""
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line.startswith("data:"):
            if not before.startswith("data:"):
                found.append([])
            found[-1].append(line[5:].removeprefix(" "))
        before = line
    return ["\n".join(lines) for lines in found]


@given(st.lists(PIECES | st.just("data: x\n\n")).map("".join))
def test_payloads_are_found_and_the_rest_stays(text: str) -> None:
    """Payloads are the data lines' texts; written again the stream says the same, each line by `\\n`."""
    stream = event_stream(text)
    assert stream.payloads == payloads_of(text)
    written = stream.written(stream.payloads, as_is)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert written == "\n".join(
        f"data: {line[5:].removeprefix(' ')}" if line.startswith("data:") else line for line in lines
    )


@pytest.mark.parametrize("text", ["data: a\n\ndata: b\n\n", "event: x\ndata: a\n\ndata: b\n"])
def test_what_stands_in_place_of_a_payload_may_have_lines(text: str) -> None:
    """A payload of two lines becomes two data lines, in streams of either kind."""
    stream = event_stream(text)
    assert event_stream(stream.written(["1\n2", "3"], as_is)).payloads == ["1\n2", "3"]


def test_other_lines_are_redacted() -> None:
    """Ids, event names and comments go through what redacts lines."""
    written = event_stream("id: ada\ndata: ada\n\n").written(["b"], lambda line: line.replace("ada", "c"))
    assert written == "id: c\ndata: b\n\n"
