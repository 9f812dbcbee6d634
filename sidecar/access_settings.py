"""Access settings: how the sidecar reaches storage, and who may ask the sidecar itself.

Part of the sidecar's settings (`sidecar.config`). Pure; standard library only.
"""

from dataclasses import dataclass

from infertap.settings import (
    Address,
    address,
    endpoint,
    off_or,
    optional_text,
    setting,
    switch,
)


def read_storage(value: str) -> Address:
    """`host:port` or `tls:host:port`; raises ValueError."""
    if value.startswith("unix:"):
        raise ValueError("expected host:port, or tls:host:port")
    read = endpoint(value)
    assert isinstance(read, Address)
    return read


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """The settings of both."""

    storage: Address | None = setting(
        "INFERTAP_STORAGE",
        "off",
        off_or(read_storage),
        "Central storage to forward to, `host:port` or `tls:host:port`; without it the spool is a ring.",
    )
    storage_ca_file: str | None = setting(
        "INFERTAP_STORAGE_TLS_CA_FILE",
        "",
        optional_text,
        "Certificates (PEM) that storage's is checked against; without it, gRPC's own list. Means TLS.",
    )
    storage_cert_file: str | None = setting(
        "INFERTAP_STORAGE_TLS_CERT_FILE",
        "",
        optional_text,
        "Certificate chain (PEM) that storage is shown. Means TLS. Read again at each connection.",
    )
    storage_key_file: str | None = setting(
        "INFERTAP_STORAGE_TLS_KEY_FILE", "", optional_text, "Its private key (PEM), without a passphrase."
    )
    storage_server_name: str | None = setting(
        "INFERTAP_STORAGE_TLS_SERVER_NAME",
        "",
        optional_text,
        "The name in storage's certificate, where it isn't the address's host. Means TLS.",
    )
    storage_token_file: str | None = setting(
        "INFERTAP_STORAGE_TOKEN_FILE",
        "",
        optional_text,
        "File with the token that storage is shown. Read again at each connection.",
    )
    api_listen: Address = setting(
        "INFERTAP_API_LISTEN",
        "127.0.0.1:9901",
        address,
        "The sidecar's own gRPC API; beyond loopback it needs the three files below.",
    )
    api_cert_file: str | None = setting(
        "INFERTAP_API_TLS_CERT_FILE",
        "",
        optional_text,
        "Certificate chain (PEM) that the API shows. Read again when it changes.",
    )
    api_key_file: str | None = setting(
        "INFERTAP_API_TLS_KEY_FILE", "", optional_text, "Its private key (PEM), without a passphrase."
    )
    api_identities_file: str | None = setting(
        "INFERTAP_API_IDENTITIES_FILE",
        "",
        optional_text,
        "Who may ask the API (TOML): hashed tokens and their roles. Read again when it changes.",
    )
    insecure: bool = setting(
        "INFERTAP_INSECURE",
        "off",
        switch,
        "`on`: beyond loopback also without TLS, tokens or identities, as a mesh or a network protects it.",
    )

    def check_access(self) -> None:
        """Raise ValueError for what can't be meant, or would tell strangers something."""
        for prefix, cert, key in (
            ("INFERTAP_STORAGE_TLS", self.storage_cert_file, self.storage_key_file),
            ("INFERTAP_API_TLS", self.api_cert_file, self.api_key_file),
        ):
            if bool(cert) != bool(key):
                raise ValueError(f"{prefix}_CERT_FILE, {prefix}_KEY_FILE: a certificate needs both")
        self._check_api()
        self._check_token()

    def _check_api(self) -> None:
        is_secure = self.api_cert_file and self.api_identities_file
        if not (self.api_listen.is_loopback or is_secure or self.insecure):
            raise ValueError(
                f"INFERTAP_API_LISTEN='{self.api_listen}': beyond loopback, such as 127.0.0.1:9901, it needs"
                " INFERTAP_API_TLS_CERT_FILE, INFERTAP_API_TLS_KEY_FILE and INFERTAP_API_IDENTITIES_FILE, or"
                " INFERTAP_INSECURE=on where a mesh or a network protects it"
            )

    def _check_token(self) -> None:
        if self.storage is None or not self.storage_token_file or self.insecure:
            return
        if not (self.reaches_storage_by_tls or self.storage.is_loopback):
            raise ValueError(
                "INFERTAP_STORAGE_TOKEN_FILE: a token is sent over TLS only:"
                f" INFERTAP_STORAGE=tls:{self.storage}, or INFERTAP_INSECURE=on where a mesh or a network"
                " protects it"
            )

    @property
    def reaches_storage_by_tls(self) -> bool:
        """Whether the way to storage is encrypted."""
        files = (self.storage_ca_file, self.storage_cert_file, self.storage_server_name)
        return any(files) or (self.storage is not None and self.storage.tls)
