"""Redaction: masks personal data and secrets in everything that a record holds. Law 3 is kept here.

The door of the room. Pure: bytes and text in, redacted bytes and text out, findings counted by class and
place, values never. What can't be read is withheld; what fails is withheld.
"""

from sidecar.recorder.redaction.fields import FieldRules, Step, read_path
from sidecar.recorder.redaction.findings import Finding, Findings
from sidecar.recorder.redaction.holes import WHOLE, Ends, Stretch
from sidecar.recorder.redaction.keyed_hashes import HashKey
from sidecar.recorder.redaction.own_rules import OwnRule, RulesFileError, read_own_rules
from sidecar.recorder.redaction.policy import Policy
from sidecar.recorder.redaction.redacted_body import RedactedBody, Withheld
from sidecar.recorder.redaction.redactor import Redactor
from sidecar.recorder.redaction.time_allowed import OverTimeError

__all__ = [
    "WHOLE",
    "Ends",
    "FieldRules",
    "Finding",
    "Findings",
    "HashKey",
    "OverTimeError",
    "OwnRule",
    "Policy",
    "RedactedBody",
    "Redactor",
    "RulesFileError",
    "Step",
    "Stretch",
    "Withheld",
    "read_own_rules",
    "read_path",
]
