"""Credentials: a company's authority, certificates, tokens and identities file, as files that change."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme

from infertap import Client

SECONDS = 30.0
# From and to, of a certificate that was good once.
EXPIRED = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC))


class Secrets:
    """A company's authority, certificates, tokens and identities file, as files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.foreign = trustme.CA()
        self.identities = directory / "identities.toml"
        self.ca = self.put("ca.pem", self.authority.cert_pem.bytes())
        self.issue("server", "localhost", "127.0.0.1")

    def put(self, name: str, content: bytes) -> str:
        """A file, exchanged in one step as kubelet does."""
        path = self.directory / name
        new = self.directory / f"{name}.new"
        new.write_bytes(content)
        new.rename(path)
        return str(path)

    def issue(self, name: str, *names: str, by: trustme.CA | None = None, **how: Any) -> dict[str, str]:
        issued = (by or self.authority).issue_cert(*names, **how)
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        key = self.put(f"{name}.key", issued.private_key_pem.bytes())
        return {"cert": self.put(f"{name}.pem", chain), "key": key}

    def token(self, name: str, token: str = "") -> str:
        """A file with a token, which is `NAME-token` unless another is wanted."""
        return self.put(f"{name}.token", (token or f"{name}-token").encode())

    def identify(self, *identities: tuple[str, str, str, str]) -> None:
        """Write the identities file: name, tenant, role, and what it is known by: a certificate's name or a
        token.
        """
        text = ""
        for name, tenant, role, known in identities:
            is_rule = known.startswith("dns:")
            by = "certificates" if is_rule else "tokens"
            shown = known if is_rule else f"sha256:{hashlib.sha256(known.encode()).hexdigest()}"
            text += f'[[identity]]\nname = "{name}"\ntenant = "{tenant}"\nroles = ["{role}"]\n'
            text += f'{by} = ["{shown}"]\n'
        self.put("identities.toml", text.encode())

    def of_storage(self, **more: str) -> dict[str, str]:
        return {
            "server_tls_cert_file": str(self.directory / "server.pem"),
            "server_tls_key_file": str(self.directory / "server.key"),
            "identities_file": str(self.identities),
        } | more

    def client(self, address: str, name: str, **more: Any) -> Client:
        return Client(address, ca_file=self.ca, token_file=self.token(name), deadline_seconds=SECONDS, **more)
