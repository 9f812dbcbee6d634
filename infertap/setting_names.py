"""Which process owns which variable, so that each can tell another's setting from a misspelt one.

`tests/structure/test_settings_documented.py` holds these sets against what the processes declare.
"""

CLIENT = frozenset({"INFERTAP_ADDRESS"})

SIDECAR = frozenset(
    {
        "INFERTAP_ADMIN_LISTEN",
        "INFERTAP_API_LISTEN",
        "INFERTAP_BODY_LIMIT_BYTES",
        "INFERTAP_CAPTURE_BUDGET_BYTES",
        "INFERTAP_CONTEXT_HEADERS",
        "INFERTAP_DRAIN_DELAY_SECONDS",
        "INFERTAP_DRAIN_SECONDS",
        "INFERTAP_FAILED_STATUSES",
        "INFERTAP_HASH_KEY_FILE",
        "INFERTAP_LISTEN",
        "INFERTAP_MODEL_NAME",
        "INFERTAP_MODEL_VERSION",
        "INFERTAP_OPAQUE_BODIES",
        "INFERTAP_RECORD_HEADERS",
        "INFERTAP_RECORDER_MEMORY_BYTES",
        "INFERTAP_REDACT",
        "INFERTAP_REDACT_FIELDS",
        "INFERTAP_ROUTES",
        "INFERTAP_SAMPLE_ERROR_MAX_PER_SECOND",
        "INFERTAP_SAMPLE_ERROR_RATE",
        "INFERTAP_SAMPLE_MAX_PER_SECOND",
        "INFERTAP_SAMPLE_RATE",
        "INFERTAP_SAMPLE_SLOW_MS",
        "INFERTAP_SESSION_HEADER",
        "INFERTAP_SKIP_PATHS",
        "INFERTAP_SOURCE_CONTAINER",
        "INFERTAP_SOURCE_NAMESPACE",
        "INFERTAP_SOURCE_NODE",
        "INFERTAP_SOURCE_POD",
        "INFERTAP_SPOOL_BYTES",
        "INFERTAP_SPOOL_DIR",
        "INFERTAP_STORAGE",
        "INFERTAP_UPSTREAM",
        "INFERTAP_USER_HEADER",
        "INFERTAP_WORKERS",
    }
)

STORAGE = frozenset(
    {
        "INFERTAP_ARCHIVE",
        "INFERTAP_ARCHIVE_MEMORY_BYTES",
        "INFERTAP_STORAGE_LISTEN",
        "INFERTAP_WEB_LISTEN",
    }
)
