"""Lines of the event log that a hostile sidecar causes."""

from typing import Any

from storage.upkeep import sparing
from storage.upkeep.sparing import SparingLog


class Written:
    """What was written, at a time that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.log = SparingLog(self.say, "found", lambda: self.now, most=2, seconds=60)

    def say(self, event: str, **facts: object) -> None:
        self.lines.append((event, facts))


def test_lines_are_bounded_by_subject() -> None:
    """Some lines of each in a minute; then how many there were besides, and lines again."""
    written = Written()
    for number in range(5):
        written.log.tell("red", number=number)
    written.log.tell("blue", number=9)
    assert written.lines == [("found", {"number": each}) for each in (0, 1, 9)]
    written.now = 61.0
    written.log.flush()
    assert written.lines[3:] == [("found: more of the same", {"subject": "red", "untold": 3})]
    written.log.tell("red", number=7)
    assert written.lines[4:] == [("found", {"number": 7})]


def test_subjects_are_bounded() -> None:
    """What very many subjects cause is counted together."""
    written = Written()
    for number in range(sparing._MOST + 10):
        written.log.tell(str(number))
    assert len(written.lines) == sparing._MOST + 2
    written.now = 61.0
    written.log.flush()
    assert written.lines[-1] == ("found: more of the same", {"subject": "others", "untold": 8})
