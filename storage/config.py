"""Storage's settings: the one place that reads them. Pure but for the environment handed in."""

from collections.abc import Mapping
from dataclasses import dataclass

from infertap import setting_names
from infertap.settings import Address, SettingsError, address, read_settings, setting, size_bytes, text

_MIB = 1 << 20


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
        "INFERTAP_WEB_LISTEN", "127.0.0.1:9904", address, "The page of calls, health and metrics."
    )

    def __post_init__(self) -> None:
        if not self.archive:
            raise ValueError("INFERTAP_ARCHIVE: no directory; say where the archive is to be")


def read(environ: Mapping[str, str]) -> Settings:
    """The settings in `environ`; raises SettingsError with a line for each fault."""
    return read_settings(Settings, environ, setting_names.SIDECAR | setting_names.CLIENT)


__all__ = ["Settings", "SettingsError", "read"]
