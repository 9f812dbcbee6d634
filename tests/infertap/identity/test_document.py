"""docs/identity.md tells what there is."""

import re
from pathlib import Path

from infertap import setting_names
from infertap.identity import Role, Roster
from infertap.identity.roster import MOST_IDENTITIES

PAGE = (Path(__file__).parents[3] / "docs" / "identity.md").read_text()


def test_the_example_is_a_roster() -> None:
    """The identities file of the five minutes can be read, once its hashes are there."""
    lines = PAGE.partition("`identities.toml`:\n")[2].partition("\nStorage, a sidecar")[0]
    hashes = iter("ab")
    text = re.sub("sha256:…", lambda _: f"sha256:{next(hashes) * 64}", lines)
    assert [each.name for each in Roster.parse(text.encode()).identities] == ["sidecars", "ana"]


def test_roles_fields_and_settings_are_told() -> None:
    """Each role, each field and each setting it names is there, and no other setting is named."""
    assert all(f"`{role}`" in PAGE for role in Role)
    fields = ("name", "tenant", "roles", "tokens", "certificates", "feedback_per_minute")
    assert all(f"| `{field}` |" in PAGE for field in fields)
    assert f"{MOST_IDENTITIES:,} identities" in PAGE
    known = setting_names.STORAGE | setting_names.SIDECAR | setting_names.CLIENT
    assert set(re.findall(r"INFERTAP_[A-Z_]+", PAGE)) <= known
