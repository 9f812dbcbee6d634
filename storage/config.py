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
    integer,
    number,
    off_or,
    optional_text,
    read_settings,
    setting,
    size_bytes,
    switch,
    text,
)
from storage.archive import ModelRule, Retention
from storage.setting_values import read_ages, read_sizes

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
        "Directory of the embedded archive, used by one storage; or `clickhouse://user@host:port/database`,"
        " used by any number (docs/scaling.md).",
    )
    archive_password_file: str | None = setting(
        "INFERTAP_ARCHIVE_PASSWORD_FILE",
        "",
        optional_text,
        "Holds the password for ClickHouse; better there than in `INFERTAP_ARCHIVE`.",
    )
    archive_memory_bytes: int = setting(
        "INFERTAP_ARCHIVE_MEMORY_BYTES",
        "512MiB",
        size_bytes(64 * _MIB, 1 << 44),
        "How much memory the archive's engine may use.",
    )
    archive_disk_bytes: int | None = setting(
        "INFERTAP_ARCHIVE_DISK_BYTES",
        "off",
        off_or(size_bytes(256 * _MIB, 1 << 60)),
        "What the embedded archive may take on disk, logs and drafts included: the earliest records go.",
    )
    retention_age: tuple[ModelRule, ...] = setting(
        "INFERTAP_RETENTION_AGE",
        "off",
        read_ages,
        "How long records are kept after they were stored: `90d`, or by model `llama*=30d,*=90d`.",
    )
    retention_bytes: tuple[ModelRule, ...] = setting(
        "INFERTAP_RETENTION_BYTES",
        "off",
        read_sizes,
        "How many bytes of records are kept, the earliest go: `200GiB`, or by model `llama*=10GiB,*=200GiB`.",
    )
    ingest_bytes: int = setting(
        "INFERTAP_INGEST_BYTES",
        "64MiB",
        size_bytes(8 * _MIB, 1 << 40),
        "Batches of records that are being written at a time, over all sidecars; others wait their turn.",
    )
    ingest_streams: int = setting(
        "INFERTAP_INGEST_STREAMS",
        "10000",
        integer(1, 1_000_000),
        "Sidecars that may be connected at a time; beyond, who has the most streams loses some to others.",
    )
    ingest_streams_per_identity: int = setting(
        "INFERTAP_INGEST_STREAMS_PER_IDENTITY",
        "6000",
        integer(1, 1_000_000),
        "The same for one identity.",
    )
    new_spools_per_day: int | None = setting(
        "INFERTAP_NEW_SPOOLS_PER_DAY",
        "20000",
        off_or(integer(1, 1_000_000_000)),
        "Spools that an identity may begin, as many at once; each pod with a volume of its own begins one.",
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
    server_cert_file: str | None = setting(
        "INFERTAP_SERVER_TLS_CERT_FILE",
        "",
        optional_text,
        "Certificate chain (PEM) that storage shows on both ports. Read again when it changes.",
    )
    server_key_file: str | None = setting(
        "INFERTAP_SERVER_TLS_KEY_FILE", "", optional_text, "Its private key (PEM), without a passphrase."
    )
    client_ca_file: str | None = setting(
        "INFERTAP_SERVER_CLIENT_CA_FILE",
        "",
        optional_text,
        "Authorities (PEM) of client certificates: with it gRPC demands one, and the web port takes one.",
    )
    identities_file: str | None = setting(
        "INFERTAP_IDENTITIES_FILE",
        "",
        optional_text,
        "Who may call (TOML): hashed tokens, certificates, tenants, roles. Read again when it changes.",
    )
    access_log_file: str | None = setting(
        "INFERTAP_ACCESS_LOG_FILE",
        "",
        optional_text,
        "Where reads are logged for audit (JSON lines); without it, with identities, on stderr.",
    )
    audit_key_file: str | None = setting(
        "INFERTAP_AUDIT_KEY_FILE",
        "",
        optional_text,
        "Keys that sign checkpoints, made by `infertap audit key`; without it nothing is signed.",
    )
    checkpoint_dir: str | None = setting(
        "INFERTAP_CHECKPOINT_DIR",
        "",
        optional_text,
        "Where each checkpoint is also written, best on another volume.",
    )
    checkpoint_seconds: float = setting(
        "INFERTAP_CHECKPOINT_SECONDS",
        "3600",
        number(1, 86_400),
        "Between checkpoints; also at start, at the end, and by `infertap audit checkpoint --make`.",
    )
    sinks_file: str | None = setting(
        "INFERTAP_SINKS_FILE",
        "",
        optional_text,
        "Systems that records are forwarded to (TOML; docs/sinks.md). Read at the start.",
    )
    insecure: bool = setting(
        "INFERTAP_INSECURE",
        "off",
        switch,
        "`on`: beyond loopback also without TLS, tokens or identities, as a mesh or a network protects it.",
    )
    feedback_per_minute: int | None = setting(
        "INFERTAP_FEEDBACK_PER_MINUTE",
        "60000",
        off_or(integer(1, 1_000_000_000)),
        "Pieces of feedback that an identity may give, where the identities file says no other number.",
    )
    feedback_origins: tuple[str, ...] = setting(
        "INFERTAP_FEEDBACK_ORIGINS",
        "",
        read_origins,
        "Web origins whose pages may send feedback (CORS), such as `https://app.example.com`; `*` for all.",
    )

    @property
    def retention(self) -> Retention:
        """What is to be kept."""
        return Retention(self.retention_age, self.retention_bytes, self.archive_disk_bytes)

    def __post_init__(self) -> None:
        if not self.archive:
            raise ValueError("INFERTAP_ARCHIVE: no directory; say where the archive is to be")
        if bool(self.server_cert_file) != bool(self.server_key_file):
            raise ValueError("INFERTAP_SERVER_TLS_CERT_FILE, INFERTAP_SERVER_TLS_KEY_FILE: TLS needs both")
        if self.checkpoint_dir and not self.audit_key_file:
            raise ValueError("INFERTAP_CHECKPOINT_DIR: needs INFERTAP_AUDIT_KEY_FILE, which signs")
        if self.client_ca_file and not (self.server_cert_file and self.identities_file):
            raise ValueError(
                "INFERTAP_SERVER_CLIENT_CA_FILE: needs INFERTAP_SERVER_TLS_CERT_FILE, and"
                " INFERTAP_IDENTITIES_FILE to say whose the certificates are"
            )
        is_secure = self.insecure or (self.server_cert_file and self.identities_file)
        for name, listen in (
            ("INFERTAP_STORAGE_LISTEN", self.listen),
            ("INFERTAP_WEB_LISTEN", self.web_listen),
        ):
            if not (is_secure or listen.is_loopback):
                raise ValueError(
                    f"{name}='{listen}': beyond loopback storage needs INFERTAP_SERVER_TLS_CERT_FILE,"
                    " INFERTAP_SERVER_TLS_KEY_FILE and INFERTAP_IDENTITIES_FILE, or INFERTAP_INSECURE=on"
                    " where a mesh or a network protects it (docs/identity.md)"
                )


def read(environ: Mapping[str, str]) -> Settings:
    """The settings in `environ`; raises SettingsError with a line for each fault."""
    return read_settings(Settings, environ, setting_names.SIDECAR | setting_names.CLIENT)


__all__ = ["Settings", "SettingsError", "read"]
