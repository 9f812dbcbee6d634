"""The line that shows how far a long command has come."""

import io

from infertap.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_shown_a_line() -> None:
    """Share and count where the total is known, the count alone where not; nothing is left behind."""
    terminal = Terminal()
    with Progress("entries", 2000, terminal) as progress:
        progress.add(500)
        assert progress.line().endswith(" 25%  500 of 2,000 entries")
    assert "500 of 2,000" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert Progress("bytes", 0, terminal).line() == "0 bytes"


def test_more_than_the_total_is_all_of_it() -> None:
    """A total that was an estimate does not make the line longer."""
    progress = Progress("entries", 10, Terminal())
    progress.add(50)
    assert "100%" in progress.line()


def test_a_pipe_is_shown_nothing() -> None:
    """What reads our output is no person."""
    pipe = io.StringIO()
    with Progress("entries", 2000, pipe) as progress:
        progress.add(500)
    assert pipe.getvalue() == ""
