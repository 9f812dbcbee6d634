"""Reading the environment: values, faults, and what they say."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from infertap.settings import (
    Address,
    SettingsError,
    UnixPath,
    address,
    comma_list,
    declared,
    endpoint,
    integer,
    number,
    off_or,
    read_settings,
    setting,
    size_bytes,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Kettle:
    """A process with three settings, two of which depend on each other."""

    litres: int = setting("INFERTAP_LITRES", "2", integer(1, 9), "How much it holds.")
    full_at: float = setting("INFERTAP_FULL_AT", "0.9", number(0, 1), "When it counts as full.")
    lid: str = setting("INFERTAP_LID", "on", str, "Whether it has one.")

    def __post_init__(self) -> None:
        if self.lid == "off" and self.full_at == 1:
            raise ValueError("INFERTAP_FULL_AT: a full kettle needs a lid")


def faults_of(**environ: str) -> list[str]:
    """The lines that reading these settings ends with."""
    with pytest.raises(SettingsError) as caught:
        read_settings(Kettle, {f"INFERTAP_{name.upper()}": value for name, value in environ.items()})
    return str(caught.value).splitlines()


def test_defaults_and_values() -> None:
    """What is set is read, with white space around it dropped; the rest has its default."""
    assert read_settings(Kettle, {"INFERTAP_LITRES": " 3 ", "PATH": "/bin"}) == Kettle(3, 0.9, "on")


def test_every_fault_has_a_line() -> None:
    """All that is wrong is said at once, by name, with what was expected."""
    assert faults_of(litres="many", full_at="2") == [
        "INFERTAP_LITRES='many': expected a whole number from 1 to 9",
        "INFERTAP_FULL_AT='2': expected a number from 0 to 1",
    ]


def test_misspelt_name() -> None:
    """A name with the prefix that nobody declares is a fault, with the nearest one that exists."""
    assert faults_of(litre="3") == ["INFERTAP_LITRE: no such setting; did you mean INFERTAP_LITRES?"]
    assert faults_of(zzz="3") == ["INFERTAP_ZZZ: no such setting; see docs/settings.md"]


def test_names_of_others_are_no_faults() -> None:
    """Other processes' settings may stand in the same environment, and so may kubelet's service links."""
    environ = {
        "INFERTAP_OTHERS": "1",
        "INFERTAP_SERVICE_HOST": "10.0.0.1",
        "INFERTAP_STORAGE_PORT_9903_TCP_ADDR": "10.0.0.1",
        "INFERTAP_STORAGE_SERVICE_PORT_GRPC": "9903",
    }
    assert read_settings(Kettle, environ, {"INFERTAP_OTHERS"}) == Kettle(2, 0.9, "on")


def test_contradiction() -> None:
    """What only two settings together make wrong is said too."""
    assert faults_of(lid="off", full_at="1") == ["INFERTAP_FULL_AT: a full kettle needs a lid"]


def test_declared() -> None:
    """The declarations tell names, defaults and meanings, for help and docs."""
    assert [(each.name, each.default) for each in declared(Kettle)] == [
        ("INFERTAP_LITRES", "2"),
        ("INFERTAP_FULL_AT", "0.9"),
        ("INFERTAP_LID", "on"),
    ]


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (size_bytes(0, 1 << 40), "1048576", 1 << 20),
        (size_bytes(0, 1 << 40), "16MiB", 16 << 20),
        (size_bytes(0, 1 << 40), "2 gib", 2 << 30),
        (number(0, 1), "1e-3", 0.001),
        (off_or(number(0, 1)), "OFF", None),
        (off_or(number(0, 1)), "", None),
        (comma_list, " a, b,,c ", ("a", "b", "c")),
        (address, "model:80", Address("model", 80)),
        (address, "[::1]:80", Address("::1", 80)),
        (endpoint, "127.0.0.1:0", Address("127.0.0.1", 0)),
        (endpoint, "unix:/run/model.sock", UnixPath("/run/model.sock")),
    ],
)
def test_readers(read: Callable[[str], Any], text: str, value: object) -> None:
    """Each reader turns text into its value."""
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (size_bytes(0, 100), "101"),
        (size_bytes(0, 100), "-1"),
        (size_bytes(0, 100), "1MB"),
        (number(0, 1), "nan"),
        (number(0, 1), "inf"),
        (number(0, 1), ""),
        (integer(0, 9), "1.0"),
        (address, "80"),
        (address, ":80"),
        (address, "::1:80"),
        (address, "model:65536"),
        (address, "model:-1"),
        (endpoint, "unix:run/model.sock"),
        (endpoint, "unix:/" + "x" * 107),
    ],
)
def test_readers_refuse(read: Callable[[str], Any], text: str) -> None:
    """What a reader can't read is a ValueError that says what it expects."""
    with pytest.raises(ValueError, match="expected"):
        read(text)


@pytest.mark.parametrize("text", ["model:80", "[::1]:80", "unix:/run/model.sock"])
def test_endpoints_print_as_they_are_set(text: str) -> None:
    """`str()` of an endpoint is what a setting would say."""
    assert str(endpoint(text)) == text
