"""Names: what a number of the contract's enums is called, also by those who don't know it yet. Pure."""

from typing import Any


def name_of(enum: Any, number: int) -> str:
    """The name in `enum`, a generated one, in lower case; the number itself where a newer sender has more."""
    try:
        return str(enum.Name(number)).lower()
    except ValueError:
        return str(number)
