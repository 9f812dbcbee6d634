"""Kafka settings: out of a sink's table, and as librdkafka names them. Touches the files that they name.

Secrets are read when a producer is made, never kept.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from storage.sinks.kafka_messages import KEYS, Form
from storage.sinks.sink_table import SinkTable

_PROTOCOLS: Final = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_TLS_FILES: Final = {
    "ca_file": "ssl.ca.location",
    "cert_file": "ssl.certificate.location",
    "key_file": "ssl.key.location",
}
# Room for a batch, whose own limit is lower, so that memory is bounded whatever the broker does.
_QUEUE: Final = {"queue.buffering.max.messages": 100_000, "queue.buffering.max.kbytes": 262_144}
# What keeps the promise, and what a topic's other producers (Java's) do: equal keys into equal partitions.
_OURS: Final = {
    "client.id": "infertap",
    "enable.idempotence": True,
    "acks": "all",
    "partitioner": "murmur2_random",
    "linger.ms": 5,
    "socket.keepalive.enable": True,
}
# What has a setting here, would be a secret in plain sight, or would break what is promised.
_NOT_OTHERS: Final = (
    *("bootstrap.", "metadata.broker", "security.", "sasl.", "ssl.", "plugin.", "queue.", "test."),
    *(
        "message.timeout",
        "delivery.timeout",
        "request.timeout",
        "message.max",
        "compression.",
        "transactional.",
    ),
    *("request.required.acks", "topic.metadata.propagation"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A topic, and how to reach it."""

    brokers: str
    topic: str
    timeout_seconds: float
    message_bytes: int
    compression: str
    security: Mapping[str, Any] = field(default_factory=dict)
    password: Callable[[], str] | None = None
    others: Mapping[str, str] = field(default_factory=dict)

    def properties(self) -> dict[str, Any]:
        """As librdkafka names them. Reads the secret; raises UnusableFileError."""
        timeout_ms = int(self.timeout_seconds * 1000)
        secret = {"sasl.password": self.password()} if self.password else {}
        return {
            "message.timeout.ms": timeout_ms,
            "request.timeout.ms": timeout_ms,
            # Before the messages' own time is up, so that a topic that is missing is told as such.
            "topic.metadata.propagation.max.ms": min(timeout_ms // 2, 10_000),
            "message.max.bytes": self.message_bytes,
            "compression.type": self.compression,
            **self.others,
            **_OURS,
            **_QUEUE,
            **self.security,
            **secret,
            "bootstrap.servers": self.brokers,
        }


def read_target(table: SinkTable) -> Target:
    """Where to; raises ValueError."""
    security, password = _security(table)
    return Target(
        brokers=table.text("brokers"),
        topic=table.text("topic"),
        timeout_seconds=table.seconds("timeout", "30s", 1, 300),
        message_bytes=table.size_bytes("message_bytes", "1000000", 1000, 100 << 20),
        compression=table.choice("compression", "lz4", "zstd", "gzip", "snappy", "none"),
        security=security,
        password=password,
        others=_others(table),
    )


def take_form(table: SinkTable) -> Form:
    """How records are written; raises ValueError."""
    key = table.choice("key", *KEYS)
    is_protobuf = table.choice("value", "json", "protobuf") == "protobuf"
    return Form(
        key, is_protobuf, table.text("source", "infertap") if table.switch("cloudevents", False) else ""
    )


def _security(table: SinkTable) -> tuple[dict[str, Any], Callable[[], str] | None]:
    protocol = table.choice("security", *_PROTOCOLS)
    files = {key: table.text(key, "") for key in _TLS_FILES}
    user, password = table.text("username", ""), table.secret_file("password_file")
    mechanism = table.choice("mechanism", *_MECHANISMS)
    if "ssl" not in protocol and any(files.values()):
        raise ValueError("ca_file, cert_file, key_file: need security = 'ssl' or 'sasl_ssl'")
    if {bool(user), bool(password)} != {protocol.startswith("sasl")}:
        raise ValueError("username, password_file: both with security = 'sasl_ssl' or 'sasl_plaintext' alone")
    SinkTable(table.name, {key: path for key, path in files.items() if path}).tls()
    made: dict[str, Any] = {"security.protocol": protocol}
    made |= {_TLS_FILES[key]: path for key, path in files.items() if path}
    if user:
        made |= {"sasl.mechanisms": mechanism, "sasl.username": user}
    return made, password


def _others(table: SinkTable) -> dict[str, str]:
    """What else librdkafka can be told."""
    others = table.pairs("properties")
    for name in others:
        if name in _OURS or name.startswith(_NOT_OTHERS) or name.endswith((".dll", "_cb")):
            raise ValueError(f"properties: {name[:64]!r} is not for you to set here")
    return others
