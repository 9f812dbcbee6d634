"""Location: where a ClickHouse archive is, as INFERTAP_ARCHIVE says it. Touches the file of its password.

    clickhouse://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?secure=on][&ca_file=PATH][&cluster=NAME]

It promises: no error and no `str()` shows the password.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from storage.archive.interface import ArchiveError

SCHEME: Final = "clickhouse://"
# ClickHouse's own: HTTP and HTTPS.
_PORT: Final = 8123
_SECURE_PORT: Final = 8443
# What needs no quotation in ClickHouse's SQL, so that no statement can be made of a name.
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_CLUSTER: Final = re.compile(r"[A-Za-z_{][A-Za-z0-9_{}.-]{0,63}")
_OPTIONS: Final = frozenset({"secure", "ca_file", "cluster"})
_PASSWORD_MOST: Final = 4096


@dataclass(frozen=True, slots=True)
class Location:
    """A database of a server, or of every server of a cluster."""

    host: str
    port: int
    database: str
    user: str = "default"
    password: str = field(default="", repr=False)
    is_secure: bool = False
    # Certificates that the server's is checked by; empty for the system's.
    ca_file: str = ""
    # As `remote_servers` of ClickHouse's configuration names it; empty for a single server.
    cluster: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        cluster = f"?cluster={self.cluster}" if self.cluster else ""
        return f"{SCHEME}{self.user}@{host}:{self.port}/{self.database}{cluster}"


def read_location(text: str, password_file: str = "") -> Location:
    """What `text` says, the password from `password_file` where one is given. Raises ValueError without
    the text, and ArchiveError where the file can't be read.
    """
    parts = _split(text)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    try:
        port = parts.port
    except ValueError:
        raise ValueError("expected a port of at most 65535") from None
    if parts.scheme != "clickhouse" or not parts.hostname:
        raise ValueError("expected clickhouse://user@host:port/database")
    if unknown := sorted(options.keys() - _OPTIONS):
        raise ValueError(f"no option {unknown[0][:40]!r}; there are {', '.join(sorted(_OPTIONS))}")
    is_secure = _read_switch(options.get("secure", "off"))
    return Location(
        host=parts.hostname,
        port=port or (_SECURE_PORT if is_secure else _PORT),
        database=_read_name("database", parts.path.removeprefix("/"), _NAME),
        user=unquote(parts.username or "default"),
        password=_read_password(unquote(parts.password or ""), password_file),
        is_secure=is_secure,
        ca_file=options.get("ca_file", ""),
        cluster=_read_name("cluster", options["cluster"], _CLUSTER) if "cluster" in options else "",
    )


def _split(text: str) -> SplitResult:
    """The parts of an address; what Python says of one that is none may quote its password."""
    try:
        return urlsplit(text)
    except ValueError:
        raise ValueError(
            "expected clickhouse://user@host:port/database; write what is special in a user or a password "
            "as %40 and the like"
        ) from None


def read_cluster(text: str) -> str:
    """The name of a cluster; raises ValueError."""
    return _read_name("cluster", text, _CLUSTER)


def _read_switch(text: str) -> bool:
    if text not in ("on", "off", "true", "false", "1", "0"):
        raise ValueError("secure: expected on or off")
    return text in ("on", "true", "1")


def _read_name(what: str, text: str, allowed: re.Pattern[str]) -> str:
    if not allowed.fullmatch(text):
        raise ValueError(f"{what}: expected a name of letters, digits and underscores")
    return text


def _read_password(given: str, password_file: str) -> str:
    if not password_file:
        return given
    if given:
        raise ValueError("a password, and a file of one; keep the file")
    try:
        with Path(password_file).open(encoding="utf-8") as file:
            return file.read(_PASSWORD_MOST).rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise ArchiveError(f"the password's file {password_file} can't be read") from None
