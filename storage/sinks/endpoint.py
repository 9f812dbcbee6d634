"""Endpoint: where sinks post to over HTTP: who we are there, and what its answers mean. Touches the network.

It promises: an answer is one of three things: it took what was sent; it will never take it (`NotTaken`: about
the body, by its status); or it was not to be had now (`SinkError`), with the time that it asked to wait. What
concerns who we are or where it is (401, 403, 404, 410, ...) is no fault of a record: it is tried again until
somebody has mended it. No error holds anything that the endpoint said, as it may quote payload; one of a
connection says where it was to go, and what the system or TLS said of it.
"""

import email.utils
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from infertap.setting_files import UnusableFileError
from storage.sinks.interface import SinkError
from storage.sinks.sink_table import SinkTable

# Bad request, too large, not processable: what the body is, and would be again.
_NOT_TAKEN: Final = frozenset({400, 413, 422})
# Of an answer: its bytes are of use only to who asked for them.
_MOST_ANSWER_BYTES: Final = 16 << 20
_LONGEST_WAIT_SECONDS: Final = 3600.0
# RFC 9110, section 5.6.2.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SECRET: Final = frozenset({"authorization", "proxy-authorization", "cookie"})
# What has no word of the system.
_MEANS: Final[dict[type, str]] = {
    OSError: "no connection",  # of a name with several addresses, each failing in a way of its own
    aiohttp.ServerDisconnectedError: "ended the connection without an answer",
    aiohttp.ClientPayloadError: "broke its answer off, or sent what can't be read",
    aiohttp.ClientResponseError: "answered what is no HTTP",
}


class NotTaken(Exception):  # noqa: N818  (an outcome)
    """The endpoint will never take this body."""

    def __init__(self, status: int) -> None:
        super().__init__(f"http {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """Where an endpoint is, and what is shown to it."""

    url: str
    headers: Mapping[str, str]
    # Makes the value of `authorization`, of the file as it is now.
    credential: Callable[[], str] | None
    tls: Callable[[], ssl.SSLContext] | None
    seconds: float

    @classmethod
    def read(cls, table: SinkTable) -> "EndpointSettings":
        """`url`, `token_file` or `authorization_file`, `headers`, `timeout`, and for https `ca_file`,
        `cert_file`, `key_file`. Raises ValueError.
        """
        url = table.url("url", "https", "http")
        is_secure = url.startswith("https:")
        return cls(
            url,
            _headers(table),
            _credential(table),
            table.tls() if is_secure else None,
            table.seconds("timeout", "30s", 0.1, 600),
        )


def _headers(table: SinkTable) -> dict[str, str]:
    headers = table.pairs("headers")
    for name, value in headers.items():
        if name.lower() in _SECRET:
            raise ValueError(
                f"headers: {name.lower()}: no credential belongs here: name a file that holds it"
            )
        if not (_TOKEN.fullmatch(name) and value.isprintable() and value.isascii()):
            raise ValueError("headers: expected names and printable ASCII, as headers have them")
    return headers


def _credential(table: SinkTable) -> Callable[[], str] | None:
    token, whole = table.secret_file("token_file"), table.secret_file("authorization_file")
    if token is not None and whole is not None:
        raise ValueError("token_file, authorization_file: only one of them")
    return (lambda: f"Bearer {token()}") if token is not None else whole


class Endpoint:
    """One URL, and connections to it. Of one loop."""

    def __init__(self, settings: EndpointSettings) -> None:
        """Connects to nothing yet. Raises SinkError where the files for TLS can't be used now."""
        self._settings = settings
        try:
            context = settings.tls() if settings.tls is not None else True
        except (OSError, ssl.SSLError):
            raise SinkError("unusable TLS files") from None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=16),
            timeout=aiohttp.ClientTimeout(total=settings.seconds),
            # What an endpoint sets is not for us to keep, and where it points not for our token.
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"user-agent": "infertap"},
        )

    async def close(self) -> None:
        """Let the connections go."""
        await self._session.close()

    async def post(
        self, body: bytes, headers: Mapping[str, str], also_not_taken: Container[int] = ()
    ) -> bytes:
        """What the endpoint answered once it took `body`; `also_not_taken`: statuses that are about what was
        sent too, where headers are made of it. Raises NotTaken and SinkError.
        """
        try:
            sent = {**self._settings.headers, **headers, **self._authorization()}
            async with self._session.post(
                self._settings.url, data=body, headers=sent, allow_redirects=False
            ) as answer:
                if answer.status in also_not_taken:
                    raise NotTaken(answer.status)
                if not 200 <= answer.status < 300:
                    raise _not_taken(answer.status, answer.headers.get("retry-after", ""))
                return await _read(answer.content)
        except UnusableFileError:
            raise SinkError("unusable credential file") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SinkError(f"{_where(self._settings.url)}: {_what(error)}") from None

    def _authorization(self) -> dict[str, str]:
        credential = self._settings.credential
        return {} if credential is None else {"authorization": credential()}


async def _read(content: aiohttp.StreamReader) -> bytes:
    answer = bytearray()
    async for chunk in content.iter_any():
        answer += chunk
        if len(answer) > _MOST_ANSWER_BYTES:
            raise SinkError("answer too large")
    return bytes(answer)


def _where(url: str) -> str:
    """HOST:PORT, and nothing else that a URL may have."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _what(error: Exception) -> str:
    """What is wrong, in words of the system or of TLS, else by the name of its type."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, TimeoutError):
        return "timeout"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {getattr(cause, 'reason', '') or 'failed'}"
    if isinstance(cause, socket.gaierror):
        return f"no such host: {cause.strerror}"
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno)
    return _MEANS.get(type(cause), type(cause).__name__)


def _not_taken(status: int, retry_after: str) -> Exception:
    if status in _NOT_TAKEN:
        return NotTaken(status)
    return SinkError(f"http {status}", _seconds_of(retry_after, time.time()))


def _seconds_of(retry_after: str, now: float) -> float | None:
    """How long to wait (RFC 9110, section 10.2.3: seconds, or a date); None where it is not said."""
    if retry_after.isdecimal() and len(retry_after) < 10:
        return min(float(retry_after), _LONGEST_WAIT_SECONDS)
    try:
        asked = email.utils.parsedate_to_datetime(retry_after).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(asked, 0.0), _LONGEST_WAIT_SECONDS)
