"""Text redaction: by the sidecar's own rules, as its settings say."""

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from sidecar.text_redaction import open_text_redaction


def test_texts_and_documents() -> None:
    """What is found is masked and counted; a document's fields by their names too."""
    redaction = open_text_redaction({})
    assert redaction.text("write to a.person@example.com") == ("write to <email>", {"email": 1})
    kept, counts = redaction.document('{"password": "abcdefgh1"}', "application/json")
    assert kept is not None
    assert "abcdefgh1" not in kept
    assert sum(counts.values()) == 1
    assert redaction.document("plain", "") == ("plain", {})


def test_what_cannot_be_read_is_withheld() -> None:
    """A document that may hold what rules ask for, and can't be parsed, is not given back."""
    redaction = open_text_redaction({"INFERTAP_REDACT_FIELDS": "a.b=mask"})
    assert redaction.document('{"a": {"b": 1', "application/json")[0] is None


def test_settings_are_followed(tmp_path: Path) -> None:
    """Rules can be turned off; a fault in the settings is told."""
    assert open_text_redaction({"INFERTAP_REDACT": "none"}).text("a@example.com")[0] == "a@example.com"
    with pytest.raises(ValueError, match="INFERTAP_HASH_KEY_FILE"):
        open_text_redaction({"INFERTAP_HASH_KEY_FILE": str(tmp_path / "missing")})
    with pytest.raises(ValueError, match="INFERTAP_REDACT"):
        open_text_redaction({"INFERTAP_REDACT": "nonsense"})


def test_storage_finds_it() -> None:
    """The package offers it under the name that storage asks for."""
    (found,) = entry_points(group="infertap.redaction", name="texts")
    assert found.load() is open_text_redaction
