"""Redaction: law 3 for what comes to storage otherwise than through a sidecar.

The rules themselves are found by an entry point, since storage does not import the sidecar
(docs/decisions/0014). Without them nothing is redacted and so nothing is taken.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Final, Protocol

from infertap import v1

_GROUP: Final = "infertap.redaction"
_NAME: Final = "texts"
_JSON: Final = "application/json"


class TextRedaction(Protocol):
    """What the entry point gives. Counts are by class of what was masked. Safe from any thread."""

    policy_version: str

    def text(self, text: str) -> tuple[str, dict[str, int]]:
        """`text` redacted."""

    def keyed_hash(self, text: str) -> str:
        """A user id or the like as records have it; empty where there is no key."""

    def document(self, text: str, content_type: str) -> tuple[str | None, dict[str, int]]:
        """A document redacted by what it is; None where it can't be read."""


def open_redaction(environ: Mapping[str, str]) -> TextRedaction | None:
    """Redaction as the settings in `environ` say, None where none is installed; raises ValueError."""
    for found in entry_points(group=_GROUP, name=_NAME):
        opened: Callable[[Mapping[str, str]], TextRedaction] = found.load()
        return opened(environ)
    return None


def redact_feedback(feedback: v1.Feedback, redaction: TextRedaction) -> None:
    """Redact every text of `feedback`, in place; what that fails for is withheld. Its own id and its
    call's are the caller's to look at.
    """
    work = _Work(feedback, redaction)
    for name in ("request_id", "source", "comment"):
        if getattr(feedback, name):  # setting it would choose the subject
            setattr(feedback, name, work.text(getattr(feedback, name), name))
    redacted = [work.text(label, "labels") for label in feedback.labels]
    feedback.labels[:] = [label for label in redacted if label]
    for event in feedback.events:
        event.name = work.text(event.name, "events")
    feedback.correction = work.document(feedback.correction, "correction", "")
    feedback.ground_truth_json = work.document(feedback.ground_truth_json, "ground_truth_json", _JSON)
    feedback.policy_version = redaction.policy_version


class _Work:
    """Notes in the feedback what is done to it."""

    def __init__(self, feedback: v1.Feedback, redaction: TextRedaction) -> None:
        self._feedback = feedback
        self._redaction = redaction

    def text(self, text: str, field: str) -> str:
        try:
            redacted, counts = self._redaction.text(text)
        except Exception:  # law 3: whatever it was, nothing raw goes on
            self._withhold(field)
            return ""
        self._note(counts, field)
        return redacted

    def document(self, text: str, field: str, content_type: str) -> str:
        if not text:
            return ""
        try:
            redacted, counts = self._redaction.document(text, content_type)
        except Exception:  # law 3
            redacted, counts = None, {}
        self._note(counts, field)
        if redacted is None:
            self._withhold(field)
        return redacted or ""

    def _withhold(self, field: str) -> None:
        if field not in self._feedback.withheld:
            self._feedback.withheld.append(field)

    def _note(self, counts: Mapping[str, int], field: str) -> None:
        for kind, count in counts.items():
            self._feedback.redactions.add(count=count, field=field, **{"class": kind})
