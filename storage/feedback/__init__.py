"""Feedback: what becomes known of calls afterwards: checked, redacted, kept, joined.

The door of the room.
"""

from storage.feedback.service import Attaching, Feedback, NoRedactionError, TooMuchFeedbackError

__all__ = [
    "Attaching",
    "Feedback",
    "NoRedactionError",
    "TooMuchFeedbackError",
]
