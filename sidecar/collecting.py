"""Collecting: how often Python looks for garbage in cycles. Touches the process's own collector."""

import gc


def settle() -> None:
    """Leave what start-up made out of every collection, and collect young cycles less often.

    Only connections make cycles, and few: to collect the whole heap every 700 allocations would cost calls
    hundreds of microseconds each time, and records of streams a twelfth of their time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
