"""What is made of files is made anew when they change, and stays when they are spoilt."""

import os
from pathlib import Path

from infertap.identity import Changing
from infertap.setting_files import UnusableFileError, read_file


class Events(list[tuple[str, dict[str, object]]]):
    def __call__(self, event: str, **facts: object) -> None:
        self.append((event, facts))


def made(path: Path) -> tuple[Changing[int], Events]:
    def make() -> int:
        try:
            return int(read_file(str(path), 10))
        except ValueError:
            raise UnusableFileError(f"{path}: no number") from None

    events = Events()
    return Changing("number", [str(path)], make, events), events


def test_changes(tmp_path: Path) -> None:
    """A change is seen at the next look, and said."""
    path = tmp_path / "number"
    path.write_text("1")
    changing, events = made(path)
    assert (changing.current, changing.look(), events) == (1, False, [])
    path.write_text("22")
    assert (changing.look(), changing.current) == (True, 22)
    assert (changing.look(), events) == (False, [("number read again", {})])


def test_spoilt(tmp_path: Path) -> None:
    """A file that is spoilt, or gone, leaves what was, and is said once each; mended, it is used again."""
    path = tmp_path / "number"
    path.write_text("1")
    changing, events = made(path)
    path.write_text("bad")
    assert [changing.look(), changing.look()] == [False, False]
    path.unlink()
    assert [changing.look(), changing.look()] == [False, False]
    assert changing.current == 1
    assert [facts["reason"] for _, facts in events] == [
        f"{path}: no number",
        f"{path}: No such file or directory",
    ]
    path.write_text("3")
    assert (changing.look(), changing.current) == (True, 3)


def test_swapped_link(tmp_path: Path) -> None:
    """A mounted Secret, where a link is swapped, is a change although nothing was written."""
    for name, text in (("one", "1"), ("two", "2")):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, ns=(1, 1))
    link = tmp_path / "link"
    link.symlink_to("one")
    changing, _ = made(link)
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(link)
    assert (changing.look(), changing.current) == (True, 2)
