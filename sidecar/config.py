"""The sidecar's settings: the one place that reads them, and what each means.

Pure but for the environment handed in; standard library only, as parent and relays import it. Every process
of the sidecar reads the same environment and so gets the same settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from infertap import setting_names
from infertap.settings import (
    Address,
    Endpoint,
    SettingsError,
    address,
    choice,
    comma_list,
    endpoint,
    integer,
    number,
    off_or,
    optional_text,
    read_settings,
    setting,
    size_bytes,
    switch,
    text,
)
from sidecar.access_settings import AccessSettings
from sidecar.setting_values import (
    PROTOCOLS,
    REDACTION_CLASSES,
    VALUE_ACTIONS,
    ContextField,
    FieldRule,
    OpaqueRule,
    Original,
    Route,
    SampleRule,
    read_actions,
    read_context_fields,
    read_field_rules,
    read_opaque_rules,
    read_redaction,
    read_routes,
    read_sample_rules,
    read_statuses,
    read_upstream,
)

MIB = 1 << 20

DEFAULT_SKIP_PATHS = (
    "/health,/healthz,/livez,/readyz,/ready,/live,/metrics,/ping,/v2/health/*,/grpc.health.v1.Health/*"
)
DEFAULT_RECORD_HEADERS = (
    "accept,content-encoding,content-type,content-length,date,grpc-encoding,grpc-timeout,host,retry-after,server,"
    "server-timing,te,traceparent,tracestate,transfer-encoding,user-agent,x-envoy-attempt-count,x-request-id"
)


@dataclass(frozen=True, slots=True)
class Settings(AccessSettings):
    """Everything the sidecar can be told."""

    listen: Endpoint = setting(
        "INFERTAP_LISTEN",
        "0.0.0.0:9000",
        endpoint,
        "Where the sidecar takes the model's traffic: `host:port`, `tls:host:port`, or `unix:/path`.",
    )
    upstream: Endpoint | Original | None = setting(
        "INFERTAP_UPSTREAM",
        "127.0.0.1:8000",
        off_or(read_upstream),
        "Where the model listens: `host:port`, `tls:host:port`, `unix:/path`, or `original` (redirect mode).",
    )
    routes: tuple[Route, ...] = setting(
        "INFERTAP_ROUTES",
        "",
        read_routes,
        "Several instead: `9000=127.0.0.1:8000,tls:9001=127.0.0.1:8001;h2`. Replaces the two above.",
    )
    protocol: str = setting(
        "INFERTAP_PROTOCOL",
        "http/1.1",
        choice(*PROTOCOLS),
        "What the model speaks, for ALPN: `http/1.1`, `h2`, or `auto` (ask it). Routes may say their own.",
    )
    tls_cert_file: str | None = setting(
        "INFERTAP_TLS_CERT_FILE",
        "",
        optional_text,
        "Certificate chain (PEM) shown where a `tls:` address listens. Read again when it changes.",
    )
    tls_key_file: str | None = setting(
        "INFERTAP_TLS_KEY_FILE", "", optional_text, "Its private key (PEM), without a passphrase."
    )
    upstream_ca_file: str | None = setting(
        "INFERTAP_UPSTREAM_CA_FILE",
        "",
        optional_text,
        "Certificates (PEM) that a model behind `tls:` is checked against; without it, the system's.",
    )
    upstream_server_name: str | None = setting(
        "INFERTAP_UPSTREAM_SERVER_NAME",
        "",
        optional_text,
        "The name in the certificate of a model behind `tls:`, where it isn't the upstream's host.",
    )
    workers: int = setting("INFERTAP_WORKERS", "1", integer(1, 64), "Relay processes.")
    sample_rate: float = setting(
        "INFERTAP_SAMPLE_RATE",
        "1.0",
        number(0, 1),
        "Share of successful calls kept, decided by a hash of the trace or request id.",
    )
    sample_error_rate: float = setting(
        "INFERTAP_SAMPLE_ERROR_RATE", "1.0", number(0, 1), "Share of failed calls kept."
    )
    sample_error_max_per_second: float | None = setting(
        "INFERTAP_SAMPLE_ERROR_MAX_PER_SECOND",
        "100",
        off_or(number(0, 1e6)),
        "Cap on kept failures per relay; the recorded fraction follows. `off` for none.",
    )
    sample_slow_ms: float | None = setting(
        "INFERTAP_SAMPLE_SLOW_MS", "off", off_or(number(0, 1e9)), "Calls slower than this are always kept."
    )
    sample_max_per_second: float | None = setting(
        "INFERTAP_SAMPLE_MAX_PER_SECOND",
        "off",
        off_or(number(0, 1e6)),
        "Cap on kept successful calls per relay; the recorded fraction follows.",
    )
    failed_statuses: frozenset[int] = setting(
        "INFERTAP_FAILED_STATUSES", "4xx,5xx", read_statuses, "HTTP statuses that count as failed."
    )
    ambiguous_framing: str = setting(
        "INFERTAP_AMBIGUOUS_FRAMING",
        "relay",
        choice("relay", "reject"),
        "HTTP/1 that two readers could read differently: `relay` it, flagged, or `reject` it with 400.",
    )
    unrecordable: str = setting(
        "INFERTAP_UNRECORDABLE",
        "relay",
        choice("relay", "refuse"),
        "Connections that can't be followed: `relay` them, counted, or `refuse` (close) them.",
    )
    skip_paths: tuple[str, ...] = setting(
        "INFERTAP_SKIP_PATHS",
        DEFAULT_SKIP_PATHS,
        comma_list,
        "Paths forwarded but never recorded; exact, or a prefix that ends with `*`.",
    )
    body_limit_bytes: int = setting(
        "INFERTAP_BODY_LIMIT_BYTES", "1MiB", size_bytes(0, 64 * MIB), "How much of each body is captured."
    )
    capture_budget_bytes: int = setting(
        "INFERTAP_CAPTURE_BUDGET_BYTES",
        "64MiB",
        size_bytes(MIB, 1 << 40),
        "How much all captured bodies of one relay may hold at a time.",
    )
    state_budget_bytes: int = setting(
        "INFERTAP_STATE_BUDGET_BYTES",
        "128MiB",
        size_bytes(MIB, 1 << 40),
        "How much one relay may keep of unfinished heads and header tables, over all its connections.",
    )
    max_connections: int = setting(
        "INFERTAP_MAX_CONNECTIONS",
        "10000",
        integer(1, 1_000_000),
        "Clients connected to one relay at a time; more wait to be accepted.",
    )
    redact: frozenset[str] = setting(
        "INFERTAP_REDACT",
        "all",
        read_redaction,
        "Classes of personal data and secrets to mask: `all`, `none`, names, or `all,-phone`.",
    )
    redact_actions: tuple[tuple[str, str], ...] = setting(
        "INFERTAP_REDACT_ACTIONS",
        "",
        read_actions,
        "What stands in place of a value, by class: `email=hash,payment_card=last4`; else its class.",
    )
    redact_rules_file: str | None = setting(
        "INFERTAP_REDACT_RULES_FILE",
        "",
        optional_text,
        "Rules of your own (TOML, RE2 patterns with examples), beside the classes.",
    )
    redact_fields: tuple[FieldRule, ...] = setting(
        "INFERTAP_REDACT_FIELDS",
        "",
        read_field_rules,
        "Fields to mask, hash, drop or cut to `last4`: `$.user.name=hash,password=drop,account=last4`.",
    )
    hash_key_file: str | None = setting(
        "INFERTAP_HASH_KEY_FILE",
        "",
        optional_text,
        "File with the key of keyed hashes. Without one, what would be hashed is masked or dropped.",
    )
    opaque_bodies: tuple[OpaqueRule, ...] = setting(
        "INFERTAP_OPAQUE_BODIES",
        "digest",
        read_opaque_rules,
        "Bodies no rule can read: `keep`, `digest` or `drop`, by media type too (`image/*=keep,digest`).",
    )
    descriptor_set: str | None = setting(
        "INFERTAP_DESCRIPTOR_SET",
        "",
        optional_text,
        "File that describes gRPC services (`protoc --include_imports --descriptor_set_out`).",
    )
    grpc_reflection: bool = setting(
        "INFERTAP_GRPC_REFLECTION",
        "on",
        switch,
        "`on`: a model is asked once, by server reflection, what a gRPC service it serves looks like; `off`.",
    )
    record_headers: tuple[str, ...] = setting(
        "INFERTAP_RECORD_HEADERS",
        DEFAULT_RECORD_HEADERS,
        comma_list,
        "Headers kept in records. Credentials are always masked, whatever this says.",
    )
    context_headers: tuple[str, ...] = setting(
        "INFERTAP_CONTEXT_HEADERS", "", comma_list, "Headers that become business context."
    )
    context_fields: tuple[ContextField, ...] = setting(
        "INFERTAP_CONTEXT_FIELDS",
        "",
        read_context_fields,
        "Business facts: `tier=$.metadata.tier,cohort=header:x-cohort,intent=query:intent` (request's JSON).",
    )
    sample_rules: tuple[SampleRule, ...] = setting(
        "INFERTAP_SAMPLE_RULES",
        "",
        read_sample_rules,
        "Rates by what payloads say: `model:iris*=0.1,finish_reason:length=1`; the first that fits decides.",
    )
    user_header: str | None = setting(
        "INFERTAP_USER_HEADER", "", optional_text, "Header that names the user; recorded as a keyed hash."
    )
    session_header: str | None = setting(
        "INFERTAP_SESSION_HEADER",
        "",
        optional_text,
        "Header that names the session; recorded as a keyed hash.",
    )
    model_name: str = setting(
        "INFERTAP_MODEL_NAME", "", text, "The model's name where neither path nor payload tells it."
    )
    model_version: str = setting(
        "INFERTAP_MODEL_VERSION", "", text, "The model's version where neither path nor payload tells it."
    )
    spool_dir: str = setting(
        "INFERTAP_SPOOL_DIR",
        "/var/lib/infertap/spool",
        text,
        "Directory of the local buffer, used by one sidecar.",
    )
    spool_bytes: int = setting(
        "INFERTAP_SPOOL_BYTES", "1GiB", size_bytes(16 * MIB, 1 << 44), "Quota of the local buffer."
    )
    recorder_memory_bytes: int = setting(
        "INFERTAP_RECORDER_MEMORY_BYTES",
        "512MiB",
        size_bytes(128 * MIB, 1 << 40),
        "Limit on the recorder's data segment; beyond it the recorder is restarted, traffic is not touched.",
    )
    recorder_priority: str = setting(
        "INFERTAP_RECORDER_PRIORITY",
        "idle",
        choice("idle", "nice"),
        "`idle`: the recorder has the CPU that its container wants for nothing else; `nice`: a small share.",
    )
    admin_listen: Address = setting("INFERTAP_ADMIN_LISTEN", "0.0.0.0:9902", address, "Health and metrics.")
    drain_delay_seconds: float = setting(
        "INFERTAP_DRAIN_DELAY_SECONDS",
        "5",
        number(0, 600),
        "After SIGTERM: not ready, but still accepting, for this long.",
    )
    drain_seconds: float = setting(
        "INFERTAP_DRAIN_SECONDS", "20", number(0, 3600), "Then: how long calls may take to finish."
    )
    source_pod: str = setting("INFERTAP_SOURCE_POD", "", text, "The pod's name, for the records.")
    source_namespace: str = setting("INFERTAP_SOURCE_NAMESPACE", "", text, "Its namespace.")
    source_node: str = setting("INFERTAP_SOURCE_NODE", "", text, "Its node.")
    source_container: str = setting("INFERTAP_SOURCE_CONTAINER", "", text, "The model's container.")
    source_version: str = setting(
        "INFERTAP_SOURCE_VERSION",
        "",
        text,
        "Its label of a version: the model's where nothing else tells it.",
    )

    def __post_init__(self) -> None:
        if not self.routes and self.upstream is None:
            raise ValueError("INFERTAP_UPSTREAM: no upstream; say where the model listens, as host:port")
        self.check_access()
        if any(route.listens_with_tls for route in self.all_routes()) and not (
            self.tls_cert_file and self.tls_key_file
        ):
            raise ValueError(
                "INFERTAP_TLS_CERT_FILE, INFERTAP_TLS_KEY_FILE: a tls: address needs both to listen"
            )
        if any(
            isinstance(route.upstream, Original) and not isinstance(route.listen, Address)
            for route in self.all_routes()
        ):
            raise ValueError(
                "INFERTAP_UPSTREAM, INFERTAP_ROUTES: clients of a unix: address aren't redirected"
            )
        fixed = [route.listen for route in self.all_routes() if getattr(route.listen, "port", None) != 0]
        if len(set(fixed)) != len(fixed):
            raise ValueError("INFERTAP_ROUTES: an address to listen on is listed twice")

    def all_routes(self) -> tuple[Route, ...]:
        """The routes, however they were set."""
        if self.routes:
            return self.routes
        assert self.upstream is not None
        return (Route(self.listen, self.upstream),)


def read(environ: Mapping[str, str]) -> Settings:
    """The settings in `environ`; raises SettingsError with a line for each fault."""
    return read_settings(Settings, environ, setting_names.STORAGE | setting_names.CLIENT)


__all__ = [
    "PROTOCOLS",
    "REDACTION_CLASSES",
    "VALUE_ACTIONS",
    "ContextField",
    "FieldRule",
    "OpaqueRule",
    "Original",
    "Route",
    "SampleRule",
    "Settings",
    "SettingsError",
    "read",
]
