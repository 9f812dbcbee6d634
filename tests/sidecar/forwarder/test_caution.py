"""When entries go one by one, and which one is guilty."""

from sidecar.forwarder.caution import Caution

SPOOL, ANOTHER = b"s" * 16, b"a" * 16


def test_guilty_one() -> None:
    """What was under way when all of it was refused goes one by one, until the guilty one stands alone."""
    caution = Caution()
    caution.begin(SPOOL)
    assert not caution.is_due(0)
    assert caution.refused([(1, 1), (2, 2), (3, 3)]) is None
    assert (caution.is_due(0), caution.is_due(2), caution.is_due(3)) == (True, True, False)
    assert caution.refused([(2, 2)]) == 2


def test_next_connection() -> None:
    """It lasts over the connections of a spool."""
    caution = Caution()
    caution.begin(SPOOL)
    caution.refused([(1, 1), (2, 2)])
    caution.begin(SPOOL)
    assert caution.is_due(0)


def test_next_spool() -> None:
    """Sequences of another spool say nothing of those of this one, which goes at full speed."""
    caution = Caution()
    caution.begin(SPOOL)
    caution.refused([(1, 1), (1_000_000, 1_000_000)])
    caution.begin(ANOTHER)
    assert not caution.is_due(0)
