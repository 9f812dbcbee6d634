"""What the processes of the hot path load, and how a relay reads its command line."""

import subprocess
import sys

import pytest

from sidecar.relay.process import Inheritance, read_arguments

KEPT_OUT = ("lmdb", "grpc", "aiohttp", "google", "duckdb", "re2", "brotli", "zstandard")


def loaded_by(module: str) -> set[str]:
    """Top-level packages in a process that has imported `module`."""
    script = f"import sys, {module}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_relay_loads_only_what_relaying_needs() -> None:
    """The relay's process holds no spool, gRPC, redaction or protobuf code."""
    assert not loaded_by("sidecar.relay.__main__") & set(KEPT_OUT)


def test_parent_is_standard_library_only() -> None:
    """The parent loads nothing that has to be installed."""
    installed = loaded_by("sidecar.__main__") - set(sys.stdlib_module_names) - loaded_by("os")
    assert installed == {"sidecar", "infertap"}


def test_arguments_are_read() -> None:
    """The relay's command line says what it inherits."""
    line = "--slot 1 --slots 2 --run-id ab --counters-fd 3 --handoff-fd 4 --listen-fds 5,6 --lifeline-fd 7"
    read = read_arguments(line.split())
    assert read == Inheritance(1, 2, "ab", 3, 4, (5, 6), 7)


def test_missing_arguments_end_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    """A relay started by hand says who starts it."""
    with pytest.raises(SystemExit):
        read_arguments([])
    assert "python -m sidecar.relay" in capsys.readouterr().err
