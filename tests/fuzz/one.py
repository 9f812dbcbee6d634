"""One target under libFuzzer, in a process that `python -m tests.fuzz` starts: TARGET, then its options.

Only our own code is instrumented: what the oracles do is of no interest to the search.
"""

import sys

import atheris

with atheris.instrument_imports(include=["sidecar"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    atheris.Setup(sys.argv[1:], TARGETS[sys.argv[1]].take)
    atheris.Fuzz()
