"""`make fuzz`: every target for a bounded time, with coverage to guide it (atheris, which is libFuzzer).

    python -m tests.fuzz [TARGET ...] [--seconds 60] [--corpus build/fuzz]
    python -m tests.fuzz --again TARGET FILE      # one input again, without a fuzzer

Each target runs in a process of its own, which ends at the first crash or after its time; the corpus stays
for the next run. Ends with 1, and says how to see it again, where an input broke a promise.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS

# An input that takes longer hangs; libFuzzer's own limit on memory is the other bound.
_SECONDS_EACH = 10
_MEGABYTES = 2048
_LONGEST_INPUT = 8 << 10


def main(arguments: list[str]) -> int:
    """The exit status."""
    chosen = _arguments().parse_args(arguments)
    if chosen.again:
        name, file = chosen.again
        TARGETS[name].take(Path(file).read_bytes())
        print(f"{name} takes {file}")
        return 0
    crashes = [crash for name in chosen.targets or TARGETS for crash in _run(name, chosen)]
    for name, crash in crashes:
        print(f"{name}: {crash} broke a promise; see it again with")
        print(f"    {sys.executable} -m tests.fuzz --again {name} {crash}")
    print(f"{len(crashes)} crashes")
    return 1 if crashes else 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Fuzz what reads foreign bytes."
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"), help="inputs found so far")
    parser.add_argument("--again", nargs=2, metavar=("TARGET", "FILE"), help="run one input")
    return parser


def _run(name: str, chosen: argparse.Namespace) -> list[tuple[str, Path]]:
    """Fuzz one target in a process; what it found."""
    directory = chosen.corpus / name
    corpus, found = directory / "corpus", directory / "crashes"
    for each in (corpus, found):
        each.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    before = set(found.iterdir())
    bounds = [
        f"-max_total_time={chosen.seconds}",
        f"-timeout={_SECONDS_EACH}",
        f"-rss_limit_mb={_MEGABYTES}",
        f"-max_len={_LONGEST_INPUT}",
        f"-artifact_prefix={found}/",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    print(f"== {name}, {chosen.seconds} s", flush=True)
    done = subprocess.run([sys.executable, "-m", "tests.fuzz.one", name, *bounds, str(corpus)], check=False)
    crashes = sorted(set(found.iterdir()) - before)
    if done.returncode and not crashes:
        sys.exit(f"{name}: the fuzzer ended with {done.returncode} and left no input")
    return [(name, crash) for crash in crashes]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
