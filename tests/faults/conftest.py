"""Faults: what every test of them needs: real processes, numbered calls, and the checks that end each test.

    def test_x(start_sidecar, start_storage, calls):
        sidecar = start_sidecar(calls.model, storage=...)
        with calls.under_way(sidecar): ... the fault ...
        settle(sidecar, storage, calls)

A test that needs root, or a tool that is not here, is skipped with that reason; `apt-get install fiu-utils
faketime strace iproute2` brings the tools.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.calls import Calls, echo
from tests.journeys.conftest import link, start_model, start_sidecar, start_storage

if TYPE_CHECKING:
    from tests.journeys.conftest import Model

__all__ = ["link", "start_model", "start_sidecar", "start_storage"]


@pytest.fixture
def calls(start_model: "Callable[..., Model]") -> Iterator[Calls]:
    """Numbered calls to a model of their own."""
    made = Calls(start_model(echo).address)
    yield made
    made.stop()


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a tmpfs of so many MiB; all are unmounted at the end."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount")
    mounted: list[Path] = []

    def mount_it(mebibytes: int) -> Path:
        path = tmp_path / f"disk-{len(mounted)}"
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"needs to mount: {done.stderr.strip()}")
        mounted.append(path)
        return path

    yield mount_it
    for path in mounted:
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(["umount", "--lazy", str(path)], check=True, capture_output=True)
