"""Connection: how a client reaches one of our gRPC servers: address, TLS, certificate, token.

    connection = Connection("tls:storage:9903", ca_file="ca.pem", token_file="token")
    with connection.channel() as channel:
        v1.RecordServiceStub(channel).GetRecord(request, metadata=connection.metadata())

Touches the files that it is told of: certificates whenever a channel is made, the token for each call, so
that both can be exchanged while it is used. It promises: a token leaves this machine over TLS only, unless
told that something else protects the way; no error quotes a token. Used by `Client`, the command line and the
sidecar's forwarder.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import grpc
import grpc.aio

from infertap.setting_files import UnusableFileError, read_file
from infertap.settings import is_loopback

_TLS: Final = "tls:"
_MOST_PEM_BYTES: Final = 1 << 20
_MOST_TOKEN_BYTES: Final = 4096
# What a header can carry (RFC 9110, section 5.5), without white space.
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
# What clients read from the environment.
ENVIRONMENT: Final = {
    "ca_file": "INFERTAP_TLS_CA_FILE",
    "cert_file": "INFERTAP_TLS_CLIENT_CERT_FILE",
    "key_file": "INFERTAP_TLS_CLIENT_KEY_FILE",
    "server_name": "INFERTAP_TLS_SERVER_NAME",
    "token": "INFERTAP_TOKEN",
    "token_file": "INFERTAP_TOKEN_FILE",
}

Options = Sequence[tuple[str, Any]]


class AccessError(Exception):
    """The connection can't be made as it is set up; the message says what is wrong."""


class Connection:
    """How to reach one server. Safe to use from several threads."""

    def __init__(
        self,
        address: str,
        *,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        server_name: str | None = None,
        token: str | None = None,
        token_file: str | None = None,
        is_protected: bool = False,
    ) -> None:
        """`address` is host:port, or tls:host:port; any of the files of TLS, or `server_name`, mean TLS too.

        `ca_file` (PEM) is what the server's certificate is checked against, else gRPC's own list;
        `server_name` the name in it where that is not the host; `cert_file` and `key_file` (PEM) are shown
        to a server that asks for them. `is_protected`: a token may go without TLS. Raises AccessError.
        """
        self.target = address.removeprefix(_TLS)
        self.is_tls = address.startswith(_TLS) or any((ca_file, cert_file, key_file, server_name))
        self._ca_file, self._cert_file, self._key_file = ca_file, cert_file, key_file
        self._server_name = server_name
        self._token, self._token_file = token, token_file
        # This machine is no business of the proxy that the environment may name.
        self.is_local = is_loopback(self.target.rpartition(":")[0].strip("[]"))
        if bool(cert_file) != bool(key_file):
            raise AccessError("a client certificate needs both, certificate and key")
        if token and token_file:
            raise AccessError("a token and a file of one: give one of them")
        if (token or token_file) and not (self.is_tls or self.is_local or is_protected):
            raise AccessError(
                f"{self.target}: a token is sent over TLS only; say tls:{self.target}, or"
                " INFERTAP_INSECURE=on where a mesh or a network protects it"
            )

    @classmethod
    def of(cls, address: str, environ: Mapping[str, str] = os.environ, **given: str | None) -> Self:
        """As `given` says, and where that says nothing, as the environment does. Raises AccessError."""
        told = {
            name: given.get(name) or environ.get(setting) or None for name, setting in ENVIRONMENT.items()
        }
        if given.get("token") or given.get("token_file"):  # one that is given replaces either
            told |= {"token": given.get("token"), "token_file": given.get("token_file")}
        return cls(address, is_protected=environ.get("INFERTAP_INSECURE") == "on", **told)

    def channel(self, options: Options = ()) -> grpc.Channel:
        """A new channel; raises AccessError."""
        credentials, options = self._credentials(), self._options(options)
        if credentials is None:
            return grpc.insecure_channel(self.target, options=options)
        return grpc.secure_channel(self.target, credentials, options=options)

    def aio_channel(self, options: Options = ()) -> grpc.aio.Channel:
        """A new channel for asyncio; raises AccessError."""
        credentials, options = self._credentials(), self._options(options)
        if credentials is None:
            return grpc.aio.insecure_channel(self.target, options=options)
        return grpc.aio.secure_channel(self.target, credentials, options=options)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What each call is to be made with; raises AccessError."""
        token = self._token
        if self._token_file:
            token = _read(self._token_file, _MOST_TOKEN_BYTES).decode("ascii", "replace").strip()
        if not (self._token or self._token_file):
            return ()
        if not token or _TOKEN.fullmatch(token) is None:
            where = self._token_file or "the token"
            raise AccessError(f"{where}: expected a token of visible ASCII characters, and nothing else")
        return (("authorization", f"Bearer {token}"),)

    def _options(self, options: Options) -> Options:
        own: list[tuple[str, Any]] = [("grpc.enable_http_proxy", 0 if self.is_local else 1)]
        if self._server_name:
            own.append(("grpc.ssl_target_name_override", self._server_name))
        return [*options, *own]

    def _credentials(self) -> grpc.ChannelCredentials | None:
        if not self.is_tls:
            return None
        read = [_read(path, _MOST_PEM_BYTES) if path else None for path in self._files]
        return grpc.ssl_channel_credentials(*read)

    @property
    def _files(self) -> tuple[str | None, str | None, str | None]:
        return self._ca_file, self._key_file, self._cert_file


def _read(path: str, most_bytes: int) -> bytes:
    try:
        return read_file(path, most_bytes)
    except UnusableFileError as error:
        raise AccessError(str(error)) from None
