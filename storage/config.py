"""Storage's settings: the one place that reads them. Pure but for the environment handed in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from infertap import setting_names
from infertap.settings import (
    Address,
    SettingsError,
    address,
    comma_list,
    read_settings,
    setting,
    size_bytes,
    text,
)

_MIB = 1 << 20
# RFC 6454, section 6.2, as browsers send it.
_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:_]+")


def read_origins(value: str) -> tuple[str, ...]:
    """Origins, separated by commas, or `*`; raises ValueError."""
    origins = comma_list(value)
    if not all(each == "*" or _ORIGIN.fullmatch(each) for each in origins):
        raise ValueError("expected origins such as https://app.example.com, or *")
    return origins


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything storage can be told."""

    archive: str = setting(
        "INFERTAP_ARCHIVE",
        "/var/lib/infertap/archive",
        text,
        "Directory of the embedded archive, used by one storage.",
    )
    archive_memory_bytes: int = setting(
        "INFERTAP_ARCHIVE_MEMORY_BYTES",
        "512MiB",
        size_bytes(64 * _MIB, 1 << 44),
        "How much memory the archive's engine may use.",
    )
    listen: Address = setting(
        "INFERTAP_STORAGE_LISTEN",
        "127.0.0.1:9903",
        address,
        "gRPC: sidecars send records, people fetch them.",
    )
    web_listen: Address = setting(
        "INFERTAP_WEB_LISTEN", "127.0.0.1:9904", address, "The page of calls, feedback, health and metrics."
    )
    feedback_origins: tuple[str, ...] = setting(
        "INFERTAP_FEEDBACK_ORIGINS",
        "",
        read_origins,
        "Web origins whose pages may send feedback (CORS), such as `https://app.example.com`; `*` for all.",
    )

    def __post_init__(self) -> None:
        if not self.archive:
            raise ValueError("INFERTAP_ARCHIVE: no directory; say where the archive is to be")


def read(environ: Mapping[str, str]) -> Settings:
    """The settings in `environ`; raises SettingsError with a line for each fault."""
    return read_settings(Settings, environ, setting_names.SIDECAR | setting_names.CLIENT)


__all__ = ["Settings", "SettingsError", "read"]
