"""Ports: where a system listens, which is one port for each kind of traffic."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports: small calls of HTTP/1.1, HTTP/2 and gRPC, and HTTP/1.1 with long bodies and events."""

    h1: int
    h2: int
    bulk: int

    def all(self) -> tuple[int, int, int]:
        """The three."""
        return (self.h1, self.h2, self.bulk)

    def as_dict(self, prefix: str = "") -> dict[str, object]:
        """The three by name, for a configuration's text."""
        return {f"{prefix}h1": self.h1, f"{prefix}h2": self.h2, f"{prefix}bulk": self.bulk}
