"""The chart, linted and rendered by the real Helm SDK; every document held against Kubernetes' schemas."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infertap import setting_names

pytestmark = pytest.mark.kubernetes

helm = pytest.importorskip("helm_python", reason="make test-kubernetes installs the Helm SDK")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="make test-kubernetes installs it")
yaml = pytest.importorskip("yaml")

CHART = Path(__file__).parents[2] / "helm" / "infertap"
KUBERNETES_VERSIONS = ("1.29", "1.33", "1.37")

TWO_PORTS = [
    {"name": "http", "listen": 9000, "upstream": 8000},
    {"name": "grpc", "listen": 9001, "upstream": 8001},
]
VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "example": {"example": {"enabled": True}},
    "ordinary container": {"example": {"enabled": True}, "sidecar": {"native": False}},
    "everything": {
        "image": {"repository": "registry.example/infertap", "tag": "0.1.0", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "pull"}],
        "storage": {
            "volume": {"size": "100Gi", "storageClassName": "fast"},
            "settings": {"archiveMemoryBytes": "1GiB"},
            "podAnnotations": {"team": "ml"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "ml", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "networkPolicy": {
                "enabled": True,
                "readers": [{"podSelector": {"matchLabels": {"app": "grafana"}}}],
            },
        },
        "sidecar": {
            "ports": TWO_PORTS,
            "spoolMi": 2000,
            "hashKeySecret": {"name": "infertap-hash-key"},
            "settings": {
                "sampleRate": 0.1,
                "sampleErrorMaxPerSecond": 1000000,
                "bodyLimitBytes": 2097152,
                "redactFields": ["$.user.name=mask", "password=drop"],
                "workers": 2,
            },
        },
        "example": {"enabled": True, "args": ["--port", "8000"]},
    },
    "redirect": {"example": {"enabled": True}, "sidecar": {"redirect": True, "ports": TWO_PORTS}},
    "redirect, ordinary container": {
        "example": {"enabled": True},
        "sidecar": {"redirect": True, "native": False},
    },
    "files": {
        "example": {"enabled": True},
        "sidecar": {
            "mounts": [
                {"name": "rules", "mountPath": "/etc/infertap/rules", "configMap": {"name": "rules"}},
                {"name": "tls", "mountPath": "/etc/infertap/tls", "secret": {"secretName": "tls"}},
            ],
            "settings": {"redactRulesFile": "/etc/infertap/rules/rules.toml"},
        },
    },
    "identity": {
        "example": {"enabled": True},
        "storage": {
            "tls": {"secretName": "storage-tls", "clientCertificates": True},
            "identities": {"secretName": "storage-identities"},
            "hashKeySecret": {"name": "infertap-hash-key"},
            "auditKeySecret": {"name": "infertap-audit-key"},
            "checkpointClaim": "checkpoints",
            "mounts": [{"name": "rules", "mountPath": "/etc/infertap/rules", "configMap": {"name": "rules"}}],
            "redactRulesFile": "/etc/infertap/rules/rules.toml",
        },
        "sidecar": {
            "storageAccess": {
                "tlsSecret": "sidecar-tls",
                "clientCertificate": True,
                "serverName": "storage.example",
                "tokenSecret": {"name": "sidecar-token"},
            }
        },
    },
    "mesh": {
        "example": {"enabled": True},
        "storage": {"identities": {"secretName": "storage-identities"}},
        "sidecar": {"storageAccess": {"tokenSecret": {"name": "sidecar-token"}}},
    },
    "clickhouse": {
        "example": {"enabled": True},
        "storage": {
            "tls": {"secretName": "storage-tls"},
            "identities": {"secretName": "storage-identities"},
            "clickhouse": {
                "url": "clickhouse://storage@clickhouse.db:9440/records?secure=on&cluster=main",
                "passwordSecret": {"name": "clickhouse"},
                "replicas": 3,
            },
            "networkPolicy": {
                "clickhouse": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "db"}}}]
            },
        },
    },
    "sinks": {
        "storage": {
            "sinks": {
                "secretName": "sinks",
                "egress": [
                    {
                        "to": [
                            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kafka"}}}
                        ],
                        "ports": [{"port": 9093, "protocol": "TCP"}],
                    }
                ],
            }
        },
    },
    "sidecars only": {"storage": {"enabled": False}, "example": {"enabled": True}},
}


@pytest.fixture(scope="module")
def chart() -> Iterator[Any]:
    with helm.Chart.load(str(CHART)) as loaded:
        yield loaded


def render(chart: Any, values: dict[str, Any], name: str = "demo") -> list[dict[str, Any]]:
    """The documents of a release."""
    rendered = chart.render(values, name=name, namespace="models")
    manifests = [text for path, text in rendered.items() if path.endswith(".yaml")]
    return [document for text in manifests for document in yaml.safe_load_all(text) if document]


def one(documents: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    found = [each for each in documents if each["kind"] == kind and each["metadata"]["name"].endswith(name)]
    assert len(found) == 1, [each["metadata"]["name"] for each in found]
    return found[0]


def sidecar_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """The sidecar's container in the example pod."""
    pod = one(documents, "Deployment", "example")["spec"]["template"]["spec"]
    (found,) = [
        each for each in pod.get("initContainers", []) + pod["containers"] if each["name"] == "infertap"
    ]
    return dict(found)


def environment(container: dict[str, Any]) -> dict[str, str]:
    """The variables a container gets; what the downward API fills in stands as its field path."""
    variables = {}
    for each in container["env"]:
        assert each["name"] not in variables, f"{each['name']} is set twice"
        variables[each["name"]] = each.get("value") or each["valueFrom"]["fieldRef"]["fieldPath"]
    return variables


def test_lints() -> None:
    """Helm's own lint finds no error, and nothing to warn of but the missing icon."""
    result = helm.lint(str(CHART))
    assert result["errors"] == []
    assert [each["error"] for each in result["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_documents_are_what_kubernetes_takes(chart: Any, values: dict[str, Any]) -> None:
    """Every document of every values set passes strict validation against old and new Kubernetes."""
    chart.validate_schema(values)
    documents = render(chart, values)
    assert documents
    for document in documents:
        for version in KUBERNETES_VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_environment_is_what_the_processes_read(chart: Any, values: dict[str, Any]) -> None:
    """The rendered variables are settings that exist, with values that the processes take."""
    from sidecar import config

    documents = render(chart, values)
    if any(each["metadata"]["name"].endswith("example") for each in documents):
        variables = environment(sidecar_of(documents))
        assert set(variables) <= setting_names.SIDECAR
        settings = config.read(variables)
        assert settings.spool_dir == "/var/lib/infertap/spool"
    for each in documents:
        if each["kind"] in ("StatefulSet", "Deployment") and each["metadata"]["name"].endswith("storage"):
            pod = each["spec"]["template"]["spec"]
            storage_config = pytest.importorskip("storage.config")
            for container in (*pod["containers"], *pod.get("initContainers", ())):
                storage_config.read(environment(container))


def test_feedback_is_redacted_as_payloads_are(chart: Any) -> None:
    """Storage gets the sidecars' settings of redaction."""
    documents = render(chart, VALUES["everything"])
    container = one(documents, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    assert environment(container)["INFERTAP_REDACT_FIELDS"] == "$.user.name=mask,password=drop"
    assert "INFERTAP_SAMPLE_RATE" not in environment(container)


def test_settings_reach_the_environment_unbent(chart: Any) -> None:
    """Large numbers keep their digits, lists become commas, and routes follow the ports."""
    variables = environment(sidecar_of(render(chart, VALUES["everything"])))
    assert variables["INFERTAP_SAMPLE_RATE"] == "0.1"
    assert variables["INFERTAP_SAMPLE_ERROR_MAX_PER_SECOND"] == "1000000"
    assert variables["INFERTAP_BODY_LIMIT_BYTES"] == "2097152"
    assert variables["INFERTAP_REDACT_FIELDS"] == "$.user.name=mask,password=drop"
    assert variables["INFERTAP_ROUTES"] == "9000=127.0.0.1:8000,9001=127.0.0.1:8001"
    assert variables["INFERTAP_STORAGE"] == "demo-infertap-storage.models.svc:9903"
    assert variables["INFERTAP_HASH_KEY_FILE"] == "/etc/infertap/hash-key/key"
    assert variables["INFERTAP_SOURCE_NODE"] == "spec.nodeName"


def test_files_that_settings_name(chart: Any) -> None:
    """ConfigMaps and Secrets are mounted, read-only, where the values say."""
    documents = render(chart, VALUES["files"])
    mounts = {each["name"]: each for each in sidecar_of(documents)["volumeMounts"]}
    assert mounts["infertap-rules"] == {
        "name": "infertap-rules",
        "mountPath": "/etc/infertap/rules",
        "readOnly": True,
    }
    volumes = one(documents, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "infertap-rules", "configMap": {"name": "rules"}} in volumes
    assert {"name": "infertap-tls", "secret": {"secretName": "tls"}} in volumes


def storage_of(documents: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Storage's pod and container."""
    pod = one(documents, "StatefulSet")["spec"]["template"]["spec"]
    return pod, pod["containers"][0]


def check_files_are_mounted(pod: dict[str, Any], container: dict[str, Any]) -> None:
    """Every file that the environment names lies under a mount, read-only, whose volume the pod has."""
    volumes = {each["name"] for each in pod["volumes"]}
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    files = [value for value in environment(container).values() if value.startswith("/etc/infertap/")]
    assert files
    for file in files:
        mount = mounts[file.rpartition("/")[0]]
        assert mount["readOnly"]
        assert mount["name"] in volumes


def test_identity_on_both_sides(chart: Any) -> None:
    """With Secrets storage has TLS, client certificates and identities, and the sidecar shows its own."""
    documents = render(chart, VALUES["identity"])
    pod, container = storage_of(documents)
    check_files_are_mounted(pod, container)
    variables = environment(container)
    assert variables["INFERTAP_SERVER_TLS_CERT_FILE"] == "/etc/infertap/tls/tls.crt"
    assert variables["INFERTAP_SERVER_CLIENT_CA_FILE"] == "/etc/infertap/tls/ca.crt"
    assert variables["INFERTAP_IDENTITIES_FILE"] == "/etc/infertap/identities/identities.toml"
    assert variables["INFERTAP_AUDIT_KEY_FILE"] == "/etc/infertap/audit-key/key"
    assert variables["INFERTAP_CHECKPOINT_DIR"] == "/var/lib/infertap-checkpoints"
    assert variables["INFERTAP_HASH_KEY_FILE"] == "/etc/infertap/hash-key/key"
    assert "INFERTAP_INSECURE" not in variables
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"
    check_files_are_mounted(one(documents, "Deployment")["spec"]["template"]["spec"], sidecar_of(documents))
    variables = environment(sidecar_of(documents))
    assert variables["INFERTAP_STORAGE_TLS_CA_FILE"] == "/etc/infertap/storage-tls/ca.crt"
    assert variables["INFERTAP_STORAGE_TLS_SERVER_NAME"] == "storage.example"
    assert variables["INFERTAP_STORAGE_TOKEN_FILE"] == "/etc/infertap/storage-token/token"
    assert "INFERTAP_INSECURE" not in variables


@pytest.mark.parametrize("name", ["defaults", "mesh"])
def test_without_tls_it_is_said(chart: Any, name: str) -> None:
    """Without TLS storage is told that something else protects it, and by default a network policy does."""
    documents = render(chart, VALUES[name])
    _, container = storage_of(documents)
    assert environment(container)["INFERTAP_INSECURE"] == "on"
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTP"
    assert one(documents, "NetworkPolicy")["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_the_spool_cannot_evict_the_pod(chart: Any) -> None:
    """The spool's quota is at most 80 % of its volume, whose room is requested and not limited."""
    for values in (VALUES["example"], VALUES["everything"]):
        documents = render(chart, values)
        volumes = one(documents, "Deployment")["spec"]["template"]["spec"]["volumes"]
        (room,) = [each["emptyDir"]["sizeLimit"] for each in volumes if each["name"] == "infertap-spool"]
        container = sidecar_of(documents)
        quota = environment(container)["INFERTAP_SPOOL_BYTES"]
        assert int(quota.removesuffix("MiB")) <= 0.8 * int(room.removesuffix("Mi"))
        assert container["resources"]["requests"]["ephemeral-storage"] == room
        assert "ephemeral-storage" not in container["resources"]["limits"]


def test_ports_are_swapped(chart: Any) -> None:
    """Callers keep the model's port, which leads to the sidecar's."""
    documents = render(chart, VALUES["everything"])
    service = one(documents, "Service", "-example")
    assert [(each["port"], each["targetPort"]) for each in service["spec"]["ports"]] == [
        (8000, "http"),
        (8001, "grpc"),
    ]
    ports = {each["name"]: each["containerPort"] for each in sidecar_of(documents)["ports"]}
    assert ports == {"http": 9000, "grpc": 9001, "infertap-admin": 9902}


def test_a_native_sidecar_starts_before_the_model_and_restarts(chart: Any) -> None:
    """The default is an init container that restarts always; else an ordinary one, which may not say so."""
    native = one(render(chart, VALUES["example"]), "Deployment")["spec"]["template"]["spec"]
    assert [(each["name"], each["restartPolicy"]) for each in native["initContainers"]] == [
        ("infertap", "Always")
    ]
    ordinary = one(render(chart, VALUES["ordinary container"]), "Deployment")["spec"]["template"]["spec"]
    assert "initContainers" not in ordinary
    assert [each["name"] for each in ordinary["containers"]] == ["infertap", "model"]
    assert "restartPolicy" not in ordinary["containers"][0]


def test_redirect_leaves_ports_to_the_model(chart: Any) -> None:
    """In redirect mode callers name the model's port; rules lead to the sidecar, which asks for whom."""
    documents = render(chart, VALUES["redirect"])
    pod = one(documents, "Deployment")["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["initContainers"]] == ["infertap-redirect", "infertap"]
    assert environment(sidecar_of(documents))["INFERTAP_ROUTES"] == "[::]:9000=original,[::]:9001=original"
    service = one(documents, "Service", "-example")
    assert [(each["port"], each["targetPort"]) for each in service["spec"]["ports"]] == [
        (8000, 8000),
        (8001, 8001),
    ]
    rules = pod["initContainers"][0]["command"][2]
    assert "redirect iptables 8000 9000\n" in rules
    assert "redirect ip6tables 8001 9001;" in rules
    rights = pod["initContainers"][0]["securityContext"]["capabilities"]
    assert rights == {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}
    ordinary = one(render(chart, VALUES["redirect, ordinary container"]), "Deployment")
    (rules_first,) = ordinary["spec"]["template"]["spec"]["initContainers"]
    assert rules_first["name"] == "infertap-redirect"


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_our_containers_keep_to_the_restricted_profile(chart: Any, values: dict[str, Any]) -> None:
    """Numeric non-root user, no capability, read-only root, no escalation, the runtime's seccomp profile."""
    for document in render(chart, values):
        pod = document["spec"].get("template", {}).get("spec", {})
        for container in pod.get("initContainers", []) + pod.get("containers", []):
            if container["name"] not in ("infertap", "storage"):
                continue
            assert container["securityContext"] == {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            }
            assert {"startupProbe", "readinessProbe", "livenessProbe", "resources"} <= set(container)


def test_sidecars_may_send_and_readers_may_read(chart: Any) -> None:
    """With the policy, pods with the sidecar's label reach gRPC, readers both ports; nothing leaves."""
    documents = render(chart, VALUES["everything"])
    policy = one(documents, "NetworkPolicy")["spec"]
    label = policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    assert label.items() <= one(documents, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    assert [each["port"] for each in policy["ingress"][0]["ports"]] == ["grpc"]
    assert [each["port"] for each in policy["ingress"][1]["ports"]] == ["grpc", "web"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy or policy["egress"] == []


@pytest.mark.parametrize(
    ("storage", "limit"),
    [
        ({}, "18432MiB"),
        ({"volume": {"size": "2Ti"}}, "1887436MiB"),
        ({"volume": {"size": "500Mi"}}, "450MiB"),
        ({"volume": {"size": "1.5Ti"}}, None),
        ({"volume": {"size": "20Gi"}, "settings": {"archiveDiskBytes": "off"}}, "off"),
    ],
    ids=str,
)
def test_the_archive_fits_its_volume(chart: Any, storage: dict[str, Any], limit: str | None) -> None:
    """It gets nine tenths of the volume, unless it is told otherwise."""
    documents = render(chart, {"storage": storage})
    container = one(documents, "StatefulSet", "-storage")["spec"]["template"]["spec"]["containers"][0]
    assert environment(container).get("INFERTAP_ARCHIVE_DISK_BYTES") == limit


def test_selectors_select(chart: Any) -> None:
    """Services and workloads select exactly the pods of their own component."""
    documents = render(chart, VALUES["everything"])
    for suffix, kind in (("-storage", "StatefulSet"), ("-example", "Deployment")):
        workload = one(documents, kind, suffix)["spec"]
        labels = workload["template"]["metadata"]["labels"].items()
        assert workload["selector"]["matchLabels"].items() <= labels
        for other in ("-storage", "-example"):
            selector = one(documents, "Service", other)["spec"]["selector"].items()
            assert (selector <= labels) == (other == suffix)


@pytest.mark.parametrize(
    "values",
    [
        {"sidecar": {"settings": {"sampelRate": 0.1}}},
        {"sidecar": {"settings": {"spoolDir": "/elsewhere"}}},
        {"sidecar": {"ports": []}},
        {"sidecar": {"spoolMi": 4}},
        {"sidecar": {"mounts": [{"name": "rules", "mountPath": "/rules"}]}},
        {"storage": {"grpcPort": 0}},
        {"storage": {"replicas": 3}},
        {"sidecars": {}},
    ],
    ids=str,
)
def test_wrong_values_are_refused(chart: Any, values: dict[str, Any]) -> None:
    """Misspelt names, settings that belong to the chart, and numbers out of range stop the installation."""
    with pytest.raises(helm.HelmError):
        chart.validate_schema(values)


def test_names_stay_within_limits(chart: Any) -> None:
    """The longest release name gives object names Kubernetes takes, with room for the pods' suffixes."""
    for document in render(chart, VALUES["everything"], name="r" * 53):
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", document["metadata"]["name"])


def test_notes_name_what_was_installed(chart: Any) -> None:
    """The notes give commands for the ports that are there."""
    notes = chart.render({}, name="demo", namespace="models").get("infertap/templates/NOTES.txt")
    if notes is None:
        pytest.skip("this Helm SDK does not render notes")
    assert "port-forward service/demo-infertap-storage 9903 9904" in notes


def storage_pod(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return dict(one(documents, kind, "storage")["spec"]["template"]["spec"])


def test_storage_over_clickhouse(chart: Any) -> None:
    """Any number of replicas without a volume, spread and kept by a budget, which make their tables first."""
    documents = render(chart, VALUES["clickhouse"])
    assert not [each for each in documents if each["kind"] == "StatefulSet"]
    deployment = one(documents, "Deployment", "storage")
    pod = storage_pod(documents, "Deployment")
    assert deployment["spec"]["replicas"] == 3
    budget = one(documents, "PodDisruptionBudget", "storage")
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]
    [migrating], [container] = pod["initContainers"], pod["containers"]
    assert migrating["args"] == ["storage", "migrate"]
    for each in (migrating, container):
        environ = {variable["name"]: variable.get("value") for variable in each["env"]}
        assert environ["INFERTAP_ARCHIVE"] == VALUES["clickhouse"]["storage"]["clickhouse"]["url"]
        assert environ["INFERTAP_ARCHIVE_PASSWORD_FILE"] == "/etc/infertap/clickhouse/password"
        assert "INFERTAP_ARCHIVE_DISK_BYTES" not in environ
        assert "clickhouse" in [mount["name"] for mount in each["volumeMounts"]]
    assert "archive" not in [mount["name"] for mount in container["volumeMounts"]]
    assert {"clickhouse", "tls", "identities", "tmp"} == {volume["name"] for volume in pod["volumes"]}
    [resolving, asking] = one(documents, "NetworkPolicy", "storage")["spec"]["egress"]
    assert {port["port"] for port in resolving["ports"]} == {53}
    assert [port["port"] for port in asking["ports"]] == [9440]
    assert asking["to"] == VALUES["clickhouse"]["storage"]["networkPolicy"]["clickhouse"]


@pytest.mark.parametrize(
    ("more", "port"), [("", 8123), ("?secure=on", 8443), ("?cluster=a&secure=true", 8443)]
)
def test_port_of_clickhouse(chart: Any, more: str, port: int) -> None:
    """Where the address says none, it is ClickHouse's own."""
    values = {"storage": {"clickhouse": {"url": f"clickhouse://storage@db/records{more}"}}}
    egress = one(render(chart, values), "NetworkPolicy", "storage")["spec"]["egress"]
    assert egress[1] == {"ports": [{"port": port, "protocol": "TCP"}]}


def test_sinks(chart: Any) -> None:
    """The sinks file is mounted with what it names, and only what is let out may leave for them."""
    documents = render(chart, VALUES["sinks"])
    pod = storage_pod(documents, "StatefulSet")
    container = pod["containers"][0]
    check_files_are_mounted(pod, container)
    assert environment(container)["INFERTAP_SINKS_FILE"] == "/etc/infertap/sinks/sinks.toml"
    [resolving, forwarding] = one(documents, "NetworkPolicy", "storage")["spec"]["egress"]
    assert {port["port"] for port in resolving["ports"]} == {53}
    assert [forwarding] == VALUES["sinks"]["storage"]["sinks"]["egress"]


def test_no_password_in_the_values(chart: Any) -> None:
    """A password belongs into a Secret."""
    values = {"storage": {"clickhouse": {"url": "clickhouse://storage:s3cret@db/records"}}}
    with pytest.raises(Exception, match="url"):
        render(chart, values)


def test_embedded_storage_is_one(chart: Any) -> None:
    """With its volume, and nothing of ClickHouse."""
    documents = render(chart, {})
    assert one(documents, "StatefulSet", "storage")["spec"]["replicas"] == 1
    pod = storage_pod(documents, "StatefulSet")
    assert "initContainers" not in pod
    assert "topologySpreadConstraints" not in pod
    assert one(documents, "NetworkPolicy", "storage")["spec"]["egress"] == []
    assert not [each for each in documents if each["kind"] in ("Deployment", "PodDisruptionBudget")]
