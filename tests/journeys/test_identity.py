"""Journey: who sends, who reads: TLS, tokens, certificates and tenants, with real processes."""

import base64
import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from infertap import Client, v1
from infertap.client import NotAllowedError, RecordNotFoundError, UnreachableError
from infertap.connection import Connection
from storage.__main__ import main
from tests.journeys.answering import answer
from tests.journeys.credentials import EXPIRED, Secrets
from tests.ports import free_port

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar, Storage

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]
    StartStorage = Callable[..., Storage]

SECONDS = 30.0


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    (tmp_path / "secrets").mkdir()
    return Secrets(tmp_path / "secrets")


def call(sidecar: "Sidecar", count: int, name: str = "call") -> None:
    host, port = sidecar.address
    connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    for number in range(count):
        connection.request("GET", "/x", headers={"x-request-id": f"{name}-{number}"})
        assert connection.getresponse().read() == b"{}"
    connection.close()


def await_trouble(sidecar: "Sidecar", why: str) -> None:
    """Until the sidecar has said that storage is not to be had, and why."""
    until = time.monotonic() + SECONDS
    while not any(why in event["why"] for event in sidecar.events("no way to storage")):
        assert time.monotonic() < until, sidecar.log_path.read_text()
        time.sleep(0.05)


def await_pending(sidecar: "Sidecar", count: int) -> None:
    sidecar.await_account(
        lambda account: account["hand_over"]["in_transit"] == 0 and account["spool"]["pending"] == count
    )


def test_tenants(
    start_model: "StartModel",
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    secrets: Secrets,
    tmp_path: Path,
) -> None:
    """Each team's sidecars write for it, its people see and judge its calls only, an auditor sees all; who
    reads is logged, and no token is anywhere.
    """
    secrets.identify(
        *((f"{team}-sidecars", team, "ingest", f"{team}-sidecars-token") for team in ("red", "blue")),
        *((f"{team}-reader", team, "read", f"{team}-reader-token") for team in ("red", "blue")),
        ("red-app", "red", "feedback", "red-app-token"),
        ("auditor", "*", "read", "auditor-token"),
    )
    log = tmp_path / "access.log"
    storage = start_storage(**secrets.of_storage(access_log_file=str(log)))
    for team in ("red", "blue"):
        sidecar = start_sidecar(
            start_model(answer).address,
            storage=f"tls:{storage.address}",
            storage_tls_ca_file=secrets.ca,
            storage_token_file=secrets.token(f"{team}-sidecars"),
        )
        call(sidecar, 3, team)
        sidecar.await_account(lambda account: account["spool"]["acked"] == 3)
    with (
        secrets.client(storage.address, "red-reader") as red,
        secrets.client(storage.address, "blue-reader") as blue,
        secrets.client(storage.address, "auditor") as auditor,
        secrets.client(storage.address, "red-app") as app,
    ):
        assert sorted(each.request_id for each in red.list()) == ["red-0", "red-1", "red-2"]
        assert {each.tenant for each in auditor.list()} == {"red", "blue"}
        assert len(list(auditor.list(text="needle-that-is-not-there"))) == 0
        (call_id,) = [each.call_id for each in blue.list(request_id="blue-1")]
        assert blue.get(call_id).request_id == "blue-1"
        with pytest.raises(RecordNotFoundError):
            red.get(call_id)
        assert list(app.feedback(request_id="blue-1", rating=1).call_ids) == []
        assert len(app.feedback(request_id="red-1", rating=5).call_ids) == 1
        assert [each.rating for each in red.list_feedback()] == [5, 1]
        assert list(blue.list_feedback()) == []
        assert blue.get(call_id).feedback_count == 0
        with pytest.raises(NotAllowedError, match="not allowed to this identity"):
            next(app.list())
        with pytest.raises(NotAllowedError, match="not allowed to this identity"):
            red.feedback(request_id="red-1", rating=1)
        check_pages(storage, secrets, call_id)
        (of_red,) = {each.spool_id for each in red.list()}
    assert say_hello(storage, secrets, "red-sidecars", of_red) is grpc.StatusCode.OK
    assert say_hello(storage, secrets, "blue-sidecars", of_red) is grpc.StatusCode.PERMISSION_DENIED
    with secrets.client(storage.address, "stranger") as stranger, pytest.raises(NotAllowedError):
        next(stranger.list())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    by = {(each["identity"], each["method"].rpartition("/")[2], each["state"]): each for each in lines}
    listed = by["blue-reader", "ListRecords", "answered"]
    assert (listed["tenant"], listed["asked"]["filter"], listed["records"]) == (
        "blue",
        {"request_id": "blue-1"},
        1,
    )
    assert ("red-reader", "GetRecord", "failed") in by
    assert ("blue-reader", "{call_id}", "answered") in by
    everything = "".join(path.read_text(errors="replace") for path in tmp_path.glob("*.log"))
    assert "-token" not in everything.replace("unknown_token", "")
    assert "needle" not in everything
    assert "unknown_token" in everything
    assert log.stat().st_mode & 0o777 == 0o600


def say_hello(storage: "Storage", secrets: Secrets, name: str, spool_id: bytes) -> grpc.StatusCode:
    """How storage takes a stream of that spool, of which nothing follows."""
    way = Connection(f"tls:{storage.address}", ca_file=secrets.ca, token_file=secrets.token(name))
    with way.channel() as channel:
        hello = v1.IngestRequest(hello=v1.Hello(spool_id=spool_id))
        call = v1.IngestServiceStub(channel).Ingest(iter([hello]), metadata=way.metadata(), timeout=SECONDS)
        with contextlib.suppress(grpc.RpcError):
            assert next(call).HasField("welcome")
            assert list(call) == []
        return call.code()


def check_pages(storage: "Storage", secrets: Secrets, call_id: str) -> None:
    """The web port knows the same identities, by Basic and Bearer."""

    def get(path: str, authorization: str = "", method: str = "GET") -> tuple[int, str, dict[str, str]]:
        host, _, port = storage.web.rpartition(":")
        context = ssl.create_default_context(cafile=secrets.ca)
        connection = http.client.HTTPSConnection(host, int(port), timeout=SECONDS, context=context)
        try:
            headers = {"Authorization": authorization} if authorization else {}
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode(), dict(response.headers)
        finally:
            connection.close()

    def basic(name: str) -> str:
        return "Basic " + base64.b64encode(f"whoever:{name}-token".encode()).decode()

    assert [get(path)[0] for path in ("/healthz", "/readyz", "/metrics", "/static/page.css")] == [200] * 4
    status, _, headers = get("/")
    assert (status, headers["WWW-Authenticate"][:5]) == (401, "Basic")
    assert get("/", basic("stranger"))[0] == 401
    status, page, _ = get("/", basic("red-reader"))
    assert (status, call_id in page) == (200, False)
    assert get(f"/calls/{call_id}", basic("red-reader"))[0] == 404
    assert get(f"/calls/{call_id}", "Bearer blue-reader-token")[0] == 200
    assert get("/", basic("red-app"))[0] == 403
    assert get("/v1/feedback", method="POST")[0] == 401
    assert get("/v1/feedback", basic("red-reader"), method="POST")[0] == 403
    assert get("/v1/feedback", "Bearer red-app-token", method="POST")[0] == 415
    assert 'infertap_storage_refused_total{method="GET /",reason="unknown_token"} 1.0' in get("/metrics")[1]


def wrong_token(secrets: Secrets) -> None:
    secrets.token("sidecars", "wrong-token")


def expired_certificate(secrets: Secrets) -> None:
    secrets.issue("client", "sidecar.example", not_before=EXPIRED[0], not_after=EXPIRED[1])


def unknown_certificate(secrets: Secrets) -> None:
    secrets.issue("client", "somebody.example")
    (secrets.directory / "sidecars.token").write_text("wrong-token")


def foreign_storage(secrets: Secrets) -> None:
    secrets.issue("server", "localhost", "127.0.0.1", by=secrets.foreign)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (wrong_token, "UNAUTHENTICATED"),
        (expired_certificate, "UNAVAILABLE"),
        (unknown_certificate, "UNAUTHENTICATED"),
        (foreign_storage, "UNAVAILABLE"),
    ],
)
def test_bad_identity(
    start_model: "StartModel",
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    secrets: Secrets,
    tmp_path: Path,
    spoil: Callable[[Secrets], None],
    why: str,
) -> None:
    """Storage takes nothing from whom it does not know; the spool keeps everything, calls go on, and once
    the credential is mended everything arrives, once, without a restart (tests/faults has more kinds).
    """

    def mend() -> None:
        secrets.issue("server", "localhost", "127.0.0.1")
        secrets.issue("client", "sidecar.example")
        secrets.token("sidecars")
        secrets.identify(
            ("sidecars", "", "ingest", "sidecars-token"),
            ("reader", "*", "read", "reader-token"),
        )

    mend()
    spoil(secrets)
    storage = start_storage(**secrets.of_storage(server_client_ca_file=secrets.ca))
    sidecar = start_sidecar(
        start_model(answer).address,
        storage=storage.address,
        storage_tls_ca_file=secrets.ca,
        storage_tls_cert_file=str(secrets.directory / "client.pem"),
        storage_tls_key_file=str(secrets.directory / "client.key"),
        storage_token_file=str(secrets.directory / "sidecars.token"),
    )
    call(sidecar, 5)
    await_trouble(sidecar, why)
    await_pending(sidecar, 5)
    assert sidecar.is_ready()
    mend()
    call(sidecar, 5, "later")
    await_pending(sidecar, 0)
    files = {
        "cert_file": str(secrets.directory / "client.pem"),
        "key_file": str(secrets.directory / "client.key"),
    }
    with secrets.client(storage.address, "reader", **files) as reader:
        records = list(reader.list())
    assert sorted(each.sequence for each in records) == list(range(1, 11))
    account = sidecar.await_settled()
    assert (account["spool"]["acked"], account["spool"]["dead_lettered"]) == (10, 0)
    assert "-token" not in "".join(path.read_text() for path in tmp_path.glob("*.log"))


def test_token_is_rotated(
    start_model: "StartModel", start_sidecar: "StartSidecar", start_storage: "StartStorage", secrets: Secrets
) -> None:
    """While both tokens are known the sidecar gets the new one; when the old one goes its stream ends, the
    next shows the new one, and no record is lost.
    """
    reader = ("reader", "*", "read", "reader-token")
    secrets.identify(("sidecars", "t", "ingest", "sidecars-token"), reader)
    storage = start_storage(**secrets.of_storage())
    token = secrets.token("sidecars")
    sidecar = start_sidecar(
        start_model(answer).address,
        storage=f"tls:{storage.address}",
        storage_tls_ca_file=secrets.ca,
        storage_token_file=token,
    )
    call(sidecar, 3)
    sidecar.await_account(lambda account: account["spool"]["acked"] == 3)
    secrets.token("sidecars", "next-token")
    secrets.identify(("sidecars", "t", "ingest", "next-token"), reader)
    await_trouble(sidecar, "UNAUTHENTICATED")
    call(sidecar, 3, "later")
    sidecar.await_account(lambda account: account["spool"]["acked"] == 6)
    with secrets.client(storage.address, "reader") as client:
        assert {each.tenant for each in client.list()} == {"t"}
        assert len(list(client.list())) == 6
    events = storage.log_path.read_text()
    assert "identities file read again" in events
    assert "Traceback" not in events


def test_api_beyond_loopback(
    start_model: "StartModel", start_sidecar: "StartSidecar", secrets: Secrets
) -> None:
    """The sidecar's own API asks for TLS and a token with the role where it has them."""
    secrets.identify(("reader", "", "read", "reader-token"), ("writer", "", "ingest", "writer-token"))
    port = free_port()
    sidecar = start_sidecar(
        start_model(answer).address,
        api_listen=f"0.0.0.0:{port}",
        api_tls_cert_file=str(secrets.directory / "server.pem"),
        api_tls_key_file=str(secrets.directory / "server.key"),
        api_identities_file=str(secrets.identities),
    )
    call(sidecar, 2)
    await_pending(sidecar, 2)
    address = f"127.0.0.1:{port}"

    def ask(name: str) -> list[v1.Record]:
        with secrets.client(address, name) as client:
            return list(client.list())

    until = time.monotonic() + SECONDS
    while True:
        try:
            assert len(ask("reader")) == 2
            break
        except UnreachableError:  # it is served soon after the recorder records
            assert time.monotonic() < until
            time.sleep(0.05)
    for name in ("writer", "stranger"):
        with pytest.raises(NotAllowedError):
            ask(name)
    with Client(address, deadline_seconds=5) as client, pytest.raises(UnreachableError):
        next(client.list())
    assert sidecar.events("API read")[0]["identity"] == "reader"
    assert {event["reason"] for event in sidecar.events("call refused")} == {"role", "unknown_token"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"storage_listen": "0.0.0.0:0"},
            "INFERTAP_STORAGE_LISTEN='0.0.0.0:0': beyond loopback storage needs",
        ),
        ({"web_listen": "[::]:0"}, "INFERTAP_WEB_LISTEN='[::]:0': beyond loopback storage needs"),
        ({"server_tls_cert_file": "/none"}, "INFERTAP_SERVER_TLS_CERT_FILE, INFERTAP_SERVER_TLS_KEY_FILE"),
        ({"server_client_ca_file": "/none"}, "INFERTAP_SERVER_CLIENT_CA_FILE: needs"),
        ({"identities_file": "/none"}, "INFERTAP_IDENTITIES_FILE: /none: No such file"),
        ({"identities_file": "SPOILT"}, "tokens: expected sha256:"),
        ({"access_log_file": "/none/log"}, "INFERTAP_ACCESS_LOG_FILE: /none/log: No such file"),
    ],
)
def test_storage_that_can_not_be_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, str], said: str
) -> None:
    """Storage does not start open to strangers, nor with files that can't be used; one line says why."""
    spoilt = tmp_path / "spoilt.toml"
    spoilt.write_text('[[identity]]\nname = "x"\nroles = ["read"]\ntokens = ["plain-secret"]\n')
    chosen = {name: str(spoilt) if value == "SPOILT" else value for name, value in settings.items()}
    environ = {f"INFERTAP_{name.upper()}": value for name, value in chosen.items()}
    assert main([], environ | {"INFERTAP_ARCHIVE": str(tmp_path / "archive")}) == 2
    written = capsys.readouterr().err
    assert said in written
    assert "plain-secret" not in written


def test_open_storage_says_so(start_storage: "StartStorage") -> None:
    """On loopback without identities, and where it was told that something else protects it, it says who may
    call.
    """
    said = []
    for settings in ({}, {"storage_listen": "0.0.0.0:0", "insecure": "on"}):
        storage = start_storage(**settings)
        events = [json.loads(line) for line in storage.log_path.read_text().splitlines()]
        said += [event["open_to"] for event in events if "open_to" in event]
    assert said == ["this machine", "whoever the mesh or the network lets through"]
