"""The file of INFERTAP_DESCRIPTOR_SET is checked at the start."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from sidecar.recorder.descriptor_set import DescriptorSetError, read_descriptor_set


def written(directory: Path, data: bytes) -> str:
    path = directory / "set.binpb"
    path.write_bytes(data)
    return str(path)


def with_service() -> bytes:
    file = FileDescriptorProto(name="a.proto", package="a", syntax="proto3")
    file.message_type.add(name="M")
    file.service.add(name="S").method.add(name="Do", input_type=".a.M", output_type=".a.M")
    return FileDescriptorSet(file=[file]).SerializeToString()


def test_methods(tmp_path: Path) -> None:
    """Of all services in the file."""
    assert list(read_descriptor_set(written(tmp_path, with_service()))) == ["/a.S/Do"]
    assert read_descriptor_set(None) == {}


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\xff", "no FileDescriptorSet"),
        (
            FileDescriptorSet(file=[FileDescriptorProto(name="a", dependency=["b"])]),
            "an import is missing: b",
        ),
        (b"\x0a\x00" * (5 << 20), "more than 8388608 bytes"),
    ],
    ids=["no set", "no import", "too long"],
)
def test_faults(tmp_path: Path, data: bytes | FileDescriptorSet, fault: str) -> None:
    """Name the setting and the file."""
    path = written(tmp_path, data if isinstance(data, bytes) else data.SerializeToString())
    with pytest.raises(DescriptorSetError, match=f"INFERTAP_DESCRIPTOR_SET: .*set.binpb: {fault}"):
        read_descriptor_set(path)


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there."""
    with pytest.raises(DescriptorSetError, match=r"INFERTAP_DESCRIPTOR_SET: .*No such file"):
        read_descriptor_set(str(tmp_path / "none"))


def test_a_sidecar_with_a_bad_file_does_not_start(tmp_path: Path) -> None:
    """The command says what is wrong and ends with status 2."""
    ended = subprocess.run(
        [sys.executable, "-m", "sidecar"],
        env={"INFERTAP_DESCRIPTOR_SET": written(tmp_path, b"\xff")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert "INFERTAP_DESCRIPTOR_SET" in ended.stderr
    assert "Traceback" not in ended.stderr
