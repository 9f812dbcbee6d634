"""Compiled: which form of the hot modules this process runs (docs/decisions/0012). Touches nothing."""

from sidecar import exchange


def is_compiled() -> bool:
    """Whether they run compiled. False from a checkout, and from a wheel that was built without it."""
    return not str(exchange.__file__).endswith(".py")
