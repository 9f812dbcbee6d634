"""`infertap token FILE` makes a token that the identities file can know."""

from pathlib import Path

import pytest

from infertap.cli import main
from infertap.identity import Evidence, Identity, Roster


def test_new_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The token stands in a file of its owner's only; what is printed is the hash for the identities file."""
    path = tmp_path / "token"
    assert main(["token", str(path)]) == 0
    printed = capsys.readouterr().out.strip()
    token = path.read_text()
    assert len(token) >= 43
    assert token not in printed
    assert path.stat().st_mode & 0o777 == 0o600
    roster = Roster.parse(f'[[identity]]\nname = "x"\nroles = ["read"]\ntokens = ["{printed}"]'.encode())
    assert isinstance(roster.identify(Evidence(token)), Identity)


def test_file_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A token that may be in use is not written over."""
    path = tmp_path / "token"
    path.write_text("in use")
    assert main(["token", str(path)]) == 1
    assert path.read_text() == "in use"
    assert "File exists" in capsys.readouterr().err
