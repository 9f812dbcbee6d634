"""TLS: the contexts that clients and models are met with.

Touches certificate files and `ssl`; opens no socket. It promises: a certificate that changes on disk is in
use for the next client within RECHECK_SECONDS; one that can't be read leaves the last good one in use, and
says so; a model's certificate is always checked. TLS 1.2 is the least (RFC 9325, section 3.1.1).

Bytes pass verbatim, so client and model must speak the same protocol: what ALPN offers (RFC 7301) is what the
model is known to speak.
"""

import os
import ssl
from collections.abc import Callable
from typing import Final

from infertap.setting_files import UnusableFileError, check_regular
from sidecar.config import Settings
from sidecar.event_log import log_event

HTTP1: Final = "http/1.1"
HTTP2: Final = "h2"
HANDSHAKE_SECONDS: Final = 10.0
RECHECK_SECONDS: Final = 1.0

Protocols = tuple[str, ...]
# Modification time and inode of each file: a mounted Secret changes by a swapped link.
_Version = tuple[tuple[int, int], ...]


class TlsError(Exception):
    """Certificates or a key can't be used; the message names the setting and says why."""


class ServerContexts:
    """What clients are met with: a context for each set of protocols, made anew when the files change."""

    def __init__(self, cert_file: str, key_file: str, clock: Callable[[], float]) -> None:
        """Raises TlsError. `clock` tells seconds."""
        self._files = (cert_file, key_file)
        self._clock = clock
        self._checked_at = clock()
        self._contexts: dict[Protocols, ssl.SSLContext] = {}
        self._version = self._version_on_disk()
        self.context((HTTP1,))

    def context(self, protocols: Protocols) -> ssl.SSLContext:
        """The context that offers `protocols`."""
        self._look_for_change()
        made = self._contexts.get(protocols)
        if made is None:
            made = self._contexts[protocols] = self._make(protocols)
        return made

    def _look_for_change(self) -> None:
        now = self._clock()
        if now - self._checked_at < RECHECK_SECONDS:
            return
        self._checked_at = now
        try:
            version = self._version_on_disk()
            if version == self._version:
                return
            renewed = {protocols: self._make(protocols) for protocols in self._contexts}
        except TlsError as error:
            log_event("relay", "changed certificate can't be used: keeping the last one", reason=str(error))
            return
        self._version, self._contexts = version, renewed
        log_event("relay", "certificate read again")

    def _version_on_disk(self) -> _Version:
        try:
            found = [os.stat(name) for name in self._files]
            for name, each in zip(self._files, found, strict=True):
                check_regular(name, each)
        except (OSError, UnusableFileError) as error:
            why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
            raise TlsError(f"INFERTAP_TLS_CERT_FILE, INFERTAP_TLS_KEY_FILE: {why}") from None
        return tuple((each.st_mtime_ns, each.st_ino) for each in found)

    def _make(self, protocols: Protocols) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(list(protocols))
        try:
            context.load_cert_chain(*self._files, password=_no_passphrase)
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise TlsError(f"INFERTAP_TLS_CERT_FILE, INFERTAP_TLS_KEY_FILE: {error}") from None
        return context


def check(settings: Settings) -> None:
    """Raise TlsError where the files that `settings` name can't be used."""
    routes = settings.all_routes()
    if any(route.listens_with_tls for route in routes):
        ServerContexts(settings.tls_cert_file or "", settings.tls_key_file or "", lambda: 0.0)
    if any(route.dials_with_tls for route in routes):
        ClientContexts(settings).context((HTTP1,))


def _no_passphrase() -> str:
    # Without it OpenSSL would ask on the terminal.
    raise ValueError("the key needs a passphrase; give it without one")


class ClientContexts:
    """What models behind TLS are met with."""

    def __init__(self, settings: Settings) -> None:
        self._ca_file = settings.upstream_ca_file
        self._server_name = settings.upstream_server_name
        self._contexts: dict[Protocols, ssl.SSLContext] = {}

    def context(self, protocols: Protocols) -> ssl.SSLContext:
        """The context that asks for `protocols`; raises TlsError."""
        made = self._contexts.get(protocols)
        if made is None:
            made = self._contexts[protocols] = self._make(protocols)
        return made

    def server_name(self, host: str) -> str:
        """The name that the certificate of the model at `host` must hold."""
        return self._server_name or host

    def _make(self, protocols: Protocols) -> ssl.SSLContext:
        try:
            if self._ca_file is not None:
                check_regular(self._ca_file, os.stat(self._ca_file))
            context = ssl.create_default_context(cafile=self._ca_file)
        except UnusableFileError as error:
            raise TlsError(f"INFERTAP_UPSTREAM_CA_FILE: {error}") from None
        except (OSError, ValueError) as error:
            raise TlsError(f"INFERTAP_UPSTREAM_CA_FILE: {self._ca_file}: {error}") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(list(protocols))
        return context
