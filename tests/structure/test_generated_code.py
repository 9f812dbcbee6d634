"""The committed code of proto/ loads beside the protobuf that users already have, old or new."""

import os
import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = sorted((ROOT / "infertap").rglob("*_pb2.py"))
ROUND_TRIP = """
from google.protobuf import __version__
from infertap import oip, v1
record = v1.Record(call_id="x", state=v1.COMPLETED, timing=v1.Timing(duration_us=7))
assert v1.Record.FromString(record.SerializeToString()) == record
assert oip.GRPCInferenceServiceStub and v1.RecordServiceStub
print(__version__)
"""


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_generated_by_the_old_compiler(path: Path) -> None:
    """Generated code is for protobuf 6.33, which 6 and 7 load; a newer compiler's is for 7 alone."""
    assert "\n# Protobuf Python Version: 6.33." in path.read_text()


@pytest.mark.protobuf_versions
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("major", "packages"),
    [("6", ["protobuf==6.33.6", "grpcio==1.81.1"]), ("7", ["protobuf>=7,<8", "grpcio"])],
)
def test_loads_in_a_fresh_environment(tmp_path: Path, major: str, packages: list[str]) -> None:
    """In an environment with nothing but grpcio and that protobuf, messages make a round trip."""
    venv.create(tmp_path, with_pip=True)
    python = tmp_path / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    subprocess.run(pip, check=True, stdin=subprocess.DEVNULL)
    ran = subprocess.run(
        [python, "-W", "error", "-c", ROUND_TRIP],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{major}.")
