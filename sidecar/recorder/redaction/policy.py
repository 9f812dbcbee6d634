"""Policy: what is redacted, as the settings say it, with a version that stands in every record."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.config import FieldRule, OpaqueRule, Settings
from sidecar.recorder.redaction.classes import shapes_of
from sidecar.recorder.redaction.fields import FieldRules
from sidecar.recorder.redaction.keyed_hashes import HashKey
from sidecar.recorder.redaction.masks import Masks
from sidecar.recorder.redaction.own_rules import OwnRule
from sidecar.recorder.redaction.scanner import Scanner

# Counted up whenever the built-in shapes change what they find.
_SHAPES_VERSION: Final = 4


@dataclass(frozen=True)
class Policy:
    """Everything that redaction goes by."""

    kinds: frozenset[str]
    fields: FieldRules
    opaque: tuple[OpaqueRule, ...]
    record_headers: frozenset[str]
    scanner: Scanner
    masks: Masks
    key: HashKey | None
    version: str

    @classmethod
    def of(
        cls,
        settings: Settings,
        hash_key: bytes | None,
        own_rules: Sequence[OwnRule] = (),
        more_fields: Sequence[FieldRule] = (),
    ) -> "Policy":
        """The policy that `settings` ask for; raises ValueError where a field's path can't be read."""
        key = HashKey(hash_key) if hash_key else None
        actions = dict(settings.redact_actions) | {rule.shape.kind: rule.action for rule in own_rules}
        return cls(
            kinds=settings.redact,
            fields=FieldRules((*settings.redact_fields, *more_fields)),
            opaque=settings.opaque_bodies,
            record_headers=frozenset(name.lower() for name in settings.record_headers),
            scanner=Scanner(shapes_of(settings.redact), [rule.shape for rule in own_rules]),
            masks=Masks(actions, key),
            key=key,
            version=_version(settings, key, own_rules, more_fields),
        )

    def opaque_action(self, media_type: str) -> str:
        """keep, digest or drop, for a body of that type that no rule can read; the first rule decides."""
        for rule in self.opaque:
            prefix, star, _ = rule.media_type.partition("*")
            if media_type.startswith(prefix) if star else media_type == rule.media_type:
                return rule.action
        return "digest"


def _version(
    settings: Settings,
    key: HashKey | None,
    own_rules: Sequence[OwnRule],
    more_fields: Sequence[FieldRule],
) -> str:
    said = {
        "shapes": _SHAPES_VERSION,
        "kinds": sorted(settings.redact),
        "actions": sorted(settings.redact_actions),
        "own": [[rule.shape.kind, rule.shape.pattern, rule.action] for rule in own_rules],
        "fields": [[rule.path, rule.action] for rule in (*settings.redact_fields, *more_fields)],
        "opaque": [[rule.media_type, rule.action] for rule in settings.opaque_bodies],
        "headers": sorted(name.lower() for name in settings.record_headers),
        "key": key.identity if key else None,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
