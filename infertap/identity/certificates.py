"""Certificates: how our servers speak TLS, for gRPC and for HTTP, with files that are read again when they
change.

Touches certificate files and `ssl`; opens no socket. It promises: the next handshake after a `look` that
found a change shows the new certificate and checks clients against the new authorities; TLS 1.2 is the least
(RFC 9325, section 3.1.1); with `client_ca_file` a gRPC client without a certificate of these authorities has
no connection, while HTTP clients may have none, and then need a token: kubelet and browsers have no
certificate to show.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc

from infertap.identity.changing import Changing, Say
from infertap.setting_files import UnusableFileError, read_file

_MOST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """PEM files of a server."""

    cert_file: str
    key_file: str
    # Authorities that client certificates are checked against; None: none are asked for.
    client_ca_file: str | None = None

    @property
    def paths(self) -> list[str]:
        return [path for path in (self.cert_file, self.key_file, self.client_ca_file) if path]


@dataclass(frozen=True, slots=True)
class _Loaded:
    grpc: grpc.ServerCertificateConfiguration
    context: ssl.SSLContext


class ServerCertificates:
    """One server's side of TLS."""

    def __init__(self, files: ServerFiles, say: Say) -> None:
        """Raises UnusableFileError."""
        self._files = files
        self._changing = Changing("certificate", files.paths, lambda: _load(files), say)

    def look(self) -> bool:
        """Read again what has changed; True where it has."""
        return self._changing.look()

    def for_grpc(self) -> grpc.ServerCredentials:
        """Credentials that each handshake asks whether there are new ones."""
        in_use = self._changing.current

        def renewed() -> grpc.ServerCertificateConfiguration | None:
            nonlocal in_use
            if in_use is self._changing.current:
                return None  # else gRPC would read them all anew
            in_use = self._changing.current
            return in_use.grpc

        return grpc.dynamic_ssl_server_credentials(
            in_use.grpc,
            renewed,  # type: ignore[arg-type]  # the stubs lack the None that grpc's documentation has
            require_client_authentication=self._files.client_ca_file is not None,
        )

    def for_http(self) -> ssl.SSLContext:
        """A context that hands each handshake on to the latest one (RFC 6066, section 3, is when it can)."""
        front = _load(self._files).context
        front.sni_callback = _chooser(lambda: self._changing.current.context)
        return front


def _chooser(
    latest: Callable[[], ssl.SSLContext],
) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]:
    # Called for clients that name no server too.
    def choose(handshake: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        handshake.context = latest()

    return choose


def _load(files: ServerFiles) -> _Loaded:
    key, chain = read_file(files.key_file, _MOST_BYTES), read_file(files.cert_file, _MOST_BYTES)
    authorities = read_file(files.client_ca_file, _MOST_BYTES) if files.client_ca_file else None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:  # gRPC would take anything now, and fail at each handshake
        context.load_cert_chain(files.cert_file, files.key_file, password=_no_passphrase)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise UnusableFileError(f"{files.cert_file}, {files.key_file}: {error}") from None
    if authorities is not None:
        _trust(context, authorities, files.client_ca_file)
    return _Loaded(grpc.ssl_server_certificate_configuration([(key, chain)], authorities), context)


def _trust(context: ssl.SSLContext, authorities: bytes, path: str | None) -> None:
    context.verify_mode = ssl.CERT_OPTIONAL
    try:
        context.load_verify_locations(cadata=authorities.decode("ascii"))
    except (ValueError, ssl.SSLError):
        raise UnusableFileError(f"{path}: no certificates (PEM)") from None


def _no_passphrase() -> str:
    # Without it OpenSSL would ask on the terminal.
    raise ValueError("the key needs a passphrase; give it without one")
