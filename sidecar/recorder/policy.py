"""Policy: what redaction goes by, from the settings and the files they name. Touches those files only."""

from sidecar.config import Settings
from sidecar.recorder.context import hashed_fields
from sidecar.recorder.redaction import Policy, read_own_rules


def policy_of(settings: Settings, hash_key: bytes | None) -> Policy:
    """The policy that `settings` ask for.

    Raises ValueError where a rule of the settings can't be read, RulesFileError for the own ones.
    """
    own_rules = read_own_rules(settings.redact_rules_file)
    return Policy.of(settings, hash_key, own_rules, hashed_fields(settings.context_fields))
