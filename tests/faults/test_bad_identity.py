"""Bad identity: storage takes nothing from whom it does not know, and not a record is lost for it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.faults.settling import settle
from tests.journeys.conftest import await_true
from tests.journeys.credentials import EXPIRED, Secrets

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Sidecar, Storage
    from tests.journeys.link import Link

    StartSidecar = Callable[..., Sidecar]
    StartStorage = Callable[..., Storage]

pytestmark = pytest.mark.faults

KNOWN = (("sidecars", "team", "ingest", "sidecars-token"), ("reader", "team", "read", "reader-token"))


def expired(secrets: Secrets) -> None:
    secrets.issue("client", "sidecar.example", not_before=EXPIRED[0], not_after=EXPIRED[1])


def foreign(secrets: Secrets) -> None:
    secrets.issue("client", "sidecar.example", by=trustme.CA())


def foreign_storage(secrets: Secrets) -> None:
    secrets.issue("server", "localhost", "127.0.0.1", by=trustme.CA())


def another_service(secrets: Secrets) -> None:
    secrets.issue("server", "another-service.example")


def wrong_token(secrets: Secrets) -> None:
    secrets.token("sidecars", "wrong-token")


def no_token(secrets: Secrets) -> None:
    (secrets.directory / "sidecars.token").unlink()


def wrong_role(secrets: Secrets) -> None:
    secrets.identify(("sidecars", "team", "read", "sidecars-token"), KNOWN[1])


def mend(secrets: Secrets) -> None:
    secrets.issue("server", "localhost", "127.0.0.1")
    secrets.issue("client", "sidecar.example")
    secrets.token("sidecars")
    secrets.identify(*KNOWN)


def test_credentials_that_go_bad_under_load_and_are_mended(
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    calls: "Calls",
    link: "Link",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Certificates expire, come from strangers or are another service's, tokens are wrong, gone or of another
    role: each time the spool keeps what comes, and sends it when the credential is mended, without a restart.
    """
    (tmp_path / "secrets").mkdir()
    secrets = Secrets(tmp_path / "secrets")
    mend(secrets)
    client = {name: str(secrets.directory / f"client.{name}") for name in ("pem", "key")}
    storage = start_storage(**secrets.of_storage(server_client_ca_file=secrets.ca))
    for name, value in {
        "INFERTAP_TLS_CA_FILE": secrets.ca,
        "INFERTAP_TLS_CLIENT_CERT_FILE": client["pem"],
        "INFERTAP_TLS_CLIENT_KEY_FILE": client["key"],
        "INFERTAP_TOKEN_FILE": secrets.token("reader"),
    }.items():
        monkeypatch.setenv(name, value)
    link.storage = storage.address
    sidecar = start_sidecar(
        calls.model,
        storage=link.address,
        storage_tls_ca_file=secrets.ca,
        storage_tls_cert_file=client["pem"],
        storage_tls_key_file=client["key"],
        storage_token_file=str(secrets.directory / "sidecars.token"),
    )

    def waiting(least: int) -> bool:
        return int(sidecar.account()["spool"]["pending"]) >= least

    def read_again() -> int:
        return storage.log_path.read_text().count(" read again")

    with calls.under_way(sidecar, clients=1, pause=0.005):
        for spoil in (expired, foreign, foreign_storage, another_service, wrong_token, no_token, wrong_role):
            await_true(lambda: not waiting(50), f"it is sent before {spoil.__name__}")
            seen = read_again()
            spoil(secrets)
            if spoil in (foreign_storage, another_service, wrong_role):
                await_true(lambda seen=seen: read_again() > seen, "storage looks at its files")
            link.cut()
            link.storage = storage.address
            # A way that was only cut is found again after a few calls.
            await_true(lambda: waiting(300), f"records wait: {spoil.__name__}")
            assert sidecar.is_ready()
            mend(secrets)
    account = settle(sidecar, storage, calls)
    assert account["spool"]["dead_lettered"] == 0
