"""Settings: how every process reads `INFERTAP_*` from the environment, once, at start.

A process declares its settings as a frozen dataclass whose fields are made by `setting(...)`: name of the
variable, default as text, how to read it, and what it means. Reading either gives the whole object or raises
`SettingsError` with one line for each thing that is wrong. `docs/settings.md` and `--help` come from the same
declarations. Standard library only: the sidecar's parent and relays import this.
"""

import dataclasses
import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

PREFIX = "INFERTAP_"
T = TypeVar("T")

# What kubelet injects for a Service named infertap or infertap-storage: not settings, and not misspelt ones.
_SERVICE_LINK = re.compile(
    r".*_SERVICE_(HOST|PORT(_\w+)?)|.*_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?"
)

_SIZE = re.compile(r"(\d+)\s*(|B|KiB|MiB|GiB|TiB)", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}


class SettingsError(ValueError):
    """The environment can't be used; the message is for the person who set it, one line for each fault."""


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One documented environment variable."""

    name: str
    default: str
    means: str
    read: Callable[[str], Any]


def setting(name: str, default: str, read: Callable[[str], T], means: str) -> T:
    """Declare a dataclass field read from the variable `name`; `read` raises ValueError on bad text."""
    declared = Setting(name, default, means, read)
    return dataclasses.field(metadata={"setting": declared})  # type: ignore[no-any-return]


def declared(settings_type: type) -> list[Setting]:
    """The settings a dataclass declares, in order."""
    return [field.metadata["setting"] for field in dataclasses.fields(settings_type)]


def describe(settings_type: type) -> str:
    """What --help prints of the settings: each with its default and meaning."""
    lines = [f"\n  {each.name}={each.default}\n      {each.means}\n" for each in declared(settings_type)]
    return "".join(lines)


def read_settings(settings_type: type[T], environ: Mapping[str, str], also_known: Iterable[str] = ()) -> T:
    """Read `settings_type` from `environ`.

    Names with the prefix that neither `settings_type` declares nor `also_known` holds are faults: a setting
    that is misspelt must not be silently without effect. Raises SettingsError.
    """
    settings = declared(settings_type)
    faults = _unknown_names(environ, [s.name for s in settings] + list(also_known))
    values = []
    for each in settings:
        text = environ.get(each.name, each.default).strip()
        try:
            values.append(each.read(text))
        except ValueError as error:
            faults.append(f"{each.name}={text!r}: {error}")
    if not faults:
        try:
            return settings_type(*values)
        except ValueError as error:
            faults.append(str(error))
    raise SettingsError("\n".join(faults))


def _unknown_names(environ: Mapping[str, str], known: list[str]) -> list[str]:
    faults = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and not _SERVICE_LINK.fullmatch(name):
            # Compared without the prefix, which all have in common.
            ends = [each.removeprefix(PREFIX) for each in known]
            near = difflib.get_close_matches(name.removeprefix(PREFIX), ends, n=1)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else "; see docs/settings.md"
            faults.append(f"{name}: no such setting{hint}")
    return faults


# -- readers: text to value, ValueError with what was expected


def text(value: str) -> str:
    return value


def optional_text(value: str) -> str | None:
    return value or None


def integer(low: int, high: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"expected a whole number from {low} to {high}") from None
        if not low <= number <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return number

    return read


def number(low: float, high: float) -> Callable[[str], float]:
    def read(value: str) -> float:
        try:
            parsed = float(value)
        except ValueError:
            raise ValueError(f"expected a number from {low:g} to {high:g}") from None
        if not low <= parsed <= high:
            raise ValueError(f"expected a number from {low:g} to {high:g}")
        return parsed

    return read


def off_or(read: Callable[[str], T]) -> Callable[[str], T | None]:
    """`off` (or nothing) means None; anything else is read by `read`."""

    def read_or_off(value: str) -> T | None:
        return None if value.lower() in ("", "off") else read(value)

    return read_or_off


def size_bytes(low: int, high: int) -> Callable[[str], int]:
    """Bytes: a whole number, with KiB, MiB, GiB or TiB if wanted."""

    def read(value: str) -> int:
        match = _SIZE.fullmatch(value)
        if match is None:
            raise ValueError("expected bytes, such as 1048576 or 1MiB")
        size = int(match[1]) * _SIZE_UNITS[match[2].lower()]
        if not low <= size <= high:
            raise ValueError(f"expected {low} to {high} bytes")
        return size

    return read


def choice(*allowed: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"expected one of: {', '.join(allowed)}")
        return value

    return read


def switch(value: str) -> bool:
    if value not in ("on", "off"):
        raise ValueError("expected on or off")
    return value == "on"


def comma_list(value: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in value.split(",") if item.strip())


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """A TCP address, and whether TLS is spoken there; `str()` gives it back as it was set."""

    host: str
    port: int
    tls: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine (or pod) reaches it."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls:' * self.tls}{host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine (RFC 6761, section 6.3)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address(value: str) -> Address:
    """`host:port`, `[v6]:port`; port 0 asks for a free one."""
    host, colon, port = value.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("expected host:port, an IPv6 host in brackets")
    if not (colon and host and port.isdecimal() and int(port) <= 65535):
        raise ValueError("expected host:port, a port of at most 65535")
    return Address(host, int(port))


@dataclasses.dataclass(frozen=True, slots=True)
class UnixPath:
    """A Unix socket in the file system; `str()` gives it back as it was set."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


Endpoint = Address | UnixPath
# sun_path of unix(7), less the byte that ends it.
_UNIX_PATH_BYTES = 107


def endpoint(value: str) -> Endpoint:
    """`host:port`, `tls:host:port`, or `unix:/path`."""
    if value.startswith("tls:"):
        return dataclasses.replace(address(value.removeprefix("tls:")), tls=True)
    if not value.startswith("unix:"):
        return address(value)
    path = value.removeprefix("unix:")
    if not path.startswith("/") or len(path.encode()) > _UNIX_PATH_BYTES:
        raise ValueError(f"expected unix:/path, absolute and of at most {_UNIX_PATH_BYTES} bytes")
    return UnixPath(path)
