"""docs/settings.md and the lists of names hold exactly what the processes declare."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from infertap import setting_names
from infertap.settings import Setting, declared
from sidecar import config

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def settings_of(process: str) -> list[Setting]:
    """What a process declares; storage may not be there yet."""
    if process == "sidecar":
        return declared(config.Settings)
    if importlib.util.find_spec("storage.config") is None:
        pytest.skip("storage declares no settings yet")
    return declared(importlib.import_module("storage.config").Settings)


def row_of(setting: Setting) -> str:
    """The line of the page that documents a setting."""
    default = f"`{setting.default}`" if setting.default else "none"
    return f"| `{setting.name}` | {default} | {setting.means} |"


def section(title: str) -> str:
    """The text under a heading of the page."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/settings.md has no section {title}"
    return found[1]


@pytest.mark.parametrize("process", ["sidecar", "storage"])
def test_every_setting_is_documented(process: str) -> None:
    """Each setting has its line, with its default and what it means; no line is left of one that is gone."""
    expected = [row_of(setting) for setting in settings_of(process)]
    rows = [line for line in section(process.capitalize()).splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(expected)


@pytest.mark.parametrize(
    ("process", "names"), [("sidecar", setting_names.SIDECAR), ("storage", setting_names.STORAGE)]
)
def test_names_are_listed(process: str, names: frozenset[str]) -> None:
    """The list that other processes tell misspelt names by is what the process declares."""
    assert {setting.name for setting in settings_of(process)} == names


def test_client_settings_are_documented() -> None:
    """What the client and the command line read has its line too."""
    rows = re.findall(r"^\| `(INFERTAP_\w+)`", section("Client"), re.MULTILINE)
    assert set(rows) == setting_names.CLIENT


def test_defaults_can_be_read() -> None:
    """With nothing set, every process has settings."""
    assert config.read({}).workers == 1
