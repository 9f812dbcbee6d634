"""Feedback: what a caller has to say of a call, as the contract's message. Pure."""

import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from infertap import v1

# What stands for "nothing given", where None is a value.
ABSENT: Final = object()
_THUMBS: Final = {"": v1.Thumb.Value("THUMB_UNSPECIFIED"), "up": v1.THUMB_UP, "down": v1.THUMB_DOWN}


def make_feedback(
    *,
    call_id: str = "",
    request_id: str = "",
    feedback_id: str = "",
    time: datetime | None = None,
    source: str = "",
    rating: float | None = None,
    thumb: str = "",
    labels: Iterable[str] = (),
    comment: str = "",
    correction: str = "",
    ground_truth: Any = ABSENT,
    events: Mapping[str, float | None] | None = None,
) -> v1.Feedback:
    """One piece of feedback to the call of `call_id`, or to all calls with `request_id`.

    `thumb` is "up" or "down"; `ground_truth` any value that JSON can hold, None too; `events` what the user
    did, each with a value or None. Without a `feedback_id` it gets a new one. Raises ValueError.
    """
    if bool(call_id) == bool(request_id):
        raise ValueError("about what? give either call_id or request_id")
    if thumb not in _THUMBS:
        raise ValueError("thumb: expected up or down")
    made = v1.Feedback(
        feedback_id=feedback_id or str(uuid.uuid4()),
        source=source,
        rating=rating,
        thumb=_THUMBS[thumb],
        labels=labels,
        comment=comment,
        correction=correction,
        events=[v1.FeedbackEvent(name=name, value=value) for name, value in (events or {}).items()],
    )
    setattr(made, "call_id" if call_id else "request_id", call_id or request_id)
    if time is not None:
        made.time.FromDatetime(time.astimezone(UTC))
    if ground_truth is not ABSENT:
        made.ground_truth_json = json.dumps(ground_truth, ensure_ascii=False, allow_nan=False)
    return made
