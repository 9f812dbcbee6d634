"""Classes: everything built in that redaction can look for, by name."""

from collections.abc import Set
from typing import Final

from sidecar.recorder.redaction.national_ids import NATIONAL_IDS
from sidecar.recorder.redaction.personal_shapes import PERSONAL
from sidecar.recorder.redaction.secret_shapes import SECRETS
from sidecar.recorder.redaction.shapes import Shape

# In the order in which one wins over another that begins at the same byte and is as long.
_SHAPES: Final = (*SECRETS, *NATIONAL_IDS, *PERSONAL)


def shapes_of(kinds: Set[str]) -> tuple[Shape, ...]:
    """The shapes of the chosen classes."""
    return tuple(shape for shape in _SHAPES if shape.kind in kinds)


def all_classes() -> frozenset[str]:
    """The names of all classes that have a shape."""
    return frozenset(shape.kind for shape in _SHAPES)
