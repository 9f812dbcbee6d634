"""The gate: many in shared use, one alone."""

import threading

from sidecar.spool.gate import Gate

WAIT_SECONDS = 10.0


def test_many_at_a_time() -> None:
    """Two are in at once."""
    gate = Gate()
    both_in = threading.Barrier(2)

    def use() -> None:
        with gate.shared():
            both_in.wait(WAIT_SECONDS)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert not both_in.broken


def test_replacing_is_alone() -> None:
    """Who replaces waits for those inside, and newcomers wait for who replaces."""
    gate = Gate()
    order: list[str] = []
    asked, replaced = threading.Event(), threading.Event()

    def replace() -> None:
        asked.set()
        with gate.exclusive():
            order.append("replaced")
            replaced.set()

    def use() -> None:
        with gate.shared():
            order.append("used")

    with gate.shared():
        replacing = threading.Thread(target=replace)
        replacing.start()
        assert asked.wait(WAIT_SECONDS)
        assert not replaced.wait(0.05)
    assert replaced.wait(WAIT_SECONDS)
    using = threading.Thread(target=use)
    using.start()
    for thread in (replacing, using):
        thread.join(WAIT_SECONDS)
    assert order == ["replaced", "used"]
