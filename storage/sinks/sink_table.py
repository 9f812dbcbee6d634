"""Sink table: one table of the sinks file, while its settings are read out of it. Touches files it names.

Each setting is taken once, by name; what nobody has taken is a fault at the end, so that a setting which is
misspelt is not silently without effect. Faults are ValueErrors that name the setting and quote no secret.
"""

import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from infertap.setting_files import UnusableFileError, read_file
from infertap.settings import size_bytes as read_size

T = TypeVar("T")
_SPAN: Final = re.compile(r"(\d{1,6})(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_MOST_SECRET_BYTES: Final = 64 << 10


class SinkTable:
    """The settings of one sink."""

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        """`name`: the sink's. `values`: as TOML has them, without those that all kinds have."""
        self.name = name
        self._left = dict(values)

    def text(self, key: str, default: str | None = None) -> str:
        """A text that says something; needed where there is no default. Raises ValueError."""
        value = self._left.pop(key, default)
        if not isinstance(value, str) or (not value and default != ""):
            raise ValueError(f"{key}: expected a text")
        return value

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of texts. Raises ValueError."""
        value = self._left.pop(key, list(default))
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            raise ValueError(f"{key}: expected a list of texts")
        return tuple(value)

    def pairs(self, key: str) -> dict[str, str]:
        """A table of texts, such as headers. Raises ValueError."""
        value = self._left.pop(key, {})
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            raise ValueError(f"{key}: expected a table of texts")
        return value

    def choice(self, key: str, *allowed: str) -> str:
        """One of these words; the first where it is not said. Raises ValueError."""
        value = self._left.pop(key, allowed[0])
        if value not in allowed:
            raise ValueError(f"{key}: expected one of {', '.join(allowed)}")
        return str(value)

    def switch(self, key: str, default: bool) -> bool:
        """`true` or `false`. Raises ValueError."""
        value = self._left.pop(key, default)
        if not isinstance(value, bool):
            raise ValueError(f"{key}: expected true or false")  # noqa: TRY004
        return value

    def integer(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number. Raises ValueError."""
        value = self._left.pop(key, default)
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{key}: expected a whole number from {least} to {most}")
        return value

    def size_bytes(self, key: str, default: str, least: int, most: int) -> int:
        """Bytes: a number, or a text such as "8MiB". Raises ValueError."""
        value = self._left.pop(key, default)
        try:
            return read_size(least, most)(str(value))
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None

    def seconds(self, key: str, default: str, least: float, most: float) -> float:
        """A time such as "250ms", "30s", "5m". Raises ValueError."""
        match = _SPAN.fullmatch(str(self._left.pop(key, default)))
        seconds = int(match[1]) * _SECONDS[match[2]] if match else -1.0
        if not least <= seconds <= most:
            raise ValueError(f"{key}: expected a time from {least:g}s to {most:g}s, such as 250ms, 30s or 5m")
        return seconds

    def url(self, key: str, *schemes: str, default: str | None = None) -> str:
        """A URL of one of these schemes, with a host and without a user or password. Raises ValueError."""
        value = self.text(key, default)
        try:
            parts = urlsplit(value)
            is_sound = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            is_sound = False
        if not is_sound:
            raise ValueError(
                f"{key}: expected a URL that begins with {' or '.join(f'{s}://' for s in schemes)}"
            )
        if "@" in parts.netloc:
            raise ValueError(f"{key}: no user or password belongs here: name a file that holds it")
        return value

    def secret_file(self, key: str) -> Callable[[], str] | None:
        """What reads the secret in the file that is named, without the white space around it; None where no
        file is. It is read now, so that a fault shows at the start, and again at each call, as secrets are
        rotated: then UnusableFileError, which is for the sink to take as a SinkError. Raises ValueError.
        """
        path = self.text(key, "")
        if not path:
            return None

        def read() -> str:
            content = read_file(path, _MOST_SECRET_BYTES).strip()
            try:
                return content.decode()
            except UnicodeDecodeError:
                raise UnusableFileError(f"{path}: not UTF-8") from None

        try:
            if not read():
                raise ValueError(f"{key}: {path}: empty")
        except UnusableFileError as error:
            raise ValueError(f"{key}: {error}") from None
        return read

    def tls(self) -> Callable[[], ssl.SSLContext]:
        """What makes the TLS context, of `ca_file` (else the system's authorities), and of `cert_file` and
        `key_file` for mutual TLS. One is made now, to see whether it can be. Raises ValueError.
        """
        ca, cert, key = (self.text(each, "") or None for each in ("ca_file", "cert_file", "key_file"))
        if bool(cert) != bool(key):
            raise ValueError("cert_file, key_file: mutual TLS needs both")

        def make() -> ssl.SSLContext:
            context = ssl.create_default_context(cafile=ca)
            if cert and key:
                context.load_cert_chain(cert, key, password=_no_password)
            return context

        try:
            make()
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"ca_file, cert_file, key_file: {error.strerror or 'not usable'}") from None
        return make

    def end(self) -> None:
        """Nothing more is taken; raises ValueError for what is left."""
        if self._left:
            raise ValueError(f"no setting {min(self._left)[:64]!r} here; see docs/sinks.md")


def _no_password() -> str:
    """OpenSSL would ask whoever sits at the terminal."""
    raise ssl.SSLError("the key has a passphrase")
