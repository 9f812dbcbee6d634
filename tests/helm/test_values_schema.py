"""The values schema offers every setting, by its name in camelCase, but those the chart sets itself."""

import json
from pathlib import Path

import pytest

from infertap import setting_names

CHART = Path(__file__).parents[2] / "helm" / "infertap"
SET_BY_CHART = {
    "sidecar": {
        "INFERTAP_ADMIN_LISTEN",
        "INFERTAP_HASH_KEY_FILE",
        "INFERTAP_INSECURE",
        "INFERTAP_LISTEN",
        "INFERTAP_ROUTES",
        "INFERTAP_SOURCE_CONTAINER",
        "INFERTAP_SOURCE_NAMESPACE",
        "INFERTAP_SOURCE_NODE",
        "INFERTAP_SOURCE_POD",
        "INFERTAP_SOURCE_VERSION",
        "INFERTAP_SPOOL_BYTES",
        "INFERTAP_SPOOL_DIR",
        "INFERTAP_STORAGE",
        "INFERTAP_STORAGE_TLS_CA_FILE",
        "INFERTAP_STORAGE_TLS_CERT_FILE",
        "INFERTAP_STORAGE_TLS_KEY_FILE",
        "INFERTAP_STORAGE_TLS_SERVER_NAME",
        "INFERTAP_STORAGE_TOKEN_FILE",
        "INFERTAP_UPSTREAM",
    },
    "storage": {
        "INFERTAP_ARCHIVE",
        "INFERTAP_ARCHIVE_PASSWORD_FILE",
        "INFERTAP_AUDIT_KEY_FILE",
        "INFERTAP_CHECKPOINT_DIR",
        "INFERTAP_IDENTITIES_FILE",
        "INFERTAP_INSECURE",
        "INFERTAP_SERVER_CLIENT_CA_FILE",
        "INFERTAP_SERVER_TLS_CERT_FILE",
        "INFERTAP_SERVER_TLS_KEY_FILE",
        "INFERTAP_SINKS_FILE",
        "INFERTAP_STORAGE_LISTEN",
        "INFERTAP_WEB_LISTEN",
    },
}


def camel_case(name: str) -> str:
    """INFERTAP_SAMPLE_RATE as sampleRate."""
    first, *rest = name.removeprefix("INFERTAP_").lower().split("_")
    return first + "".join(word.capitalize() for word in rest)


@pytest.mark.parametrize(
    ("process", "names"), [("sidecar", setting_names.SIDECAR), ("storage", setting_names.STORAGE)]
)
def test_schema_offers_every_setting(process: str, names: frozenset[str]) -> None:
    """A setting that is added must be added to the schema, or to what the chart sets."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    offered = set(schema["properties"][process]["properties"]["settings"]["properties"])
    assert SET_BY_CHART[process] <= names
    assert offered == {camel_case(name) for name in names - SET_BY_CHART[process]}
