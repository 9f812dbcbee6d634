"""How clients reach a server: TLS, certificates and tokens, from arguments and settings."""

from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from infertap import Client, v1
from infertap.client import ClientError, NotAllowedError, UnreachableError
from infertap.connection import AccessError, Connection


class Serving(v1.RecordServiceServicer):
    """Knows one token, and answers with the common name of the client's certificate."""

    def __init__(self) -> None:
        self.token = "s3cret-token"

    def GetRecord(self, request: Any, context: Any) -> v1.Record:  # noqa: N802
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {self.token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who?")
        if request.call_id == "forbidden":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not allowed to this identity")
        names = context.auth_context().get("x509_common_name", [b""])
        return v1.Record(call_id=names[0].decode())


class Rig:
    """A server over TLS, or without, and the files to reach it with."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.service = Serving()
        self.ca_file = str(directory / "ca.pem")
        self.cert_file, self.key_file = str(directory / "cert.pem"), str(directory / "key.pem")
        self.token_file = str(directory / "token")
        Path(self.token_file).write_text(self.service.token + "\n")
        self.authority.cert_pem.write_to_path(self.ca_file)
        client = self.authority.issue_cert("client.example", common_name="client-7")
        client.cert_chain_pems[0].write_to_path(self.cert_file)
        client.private_key_pem.write_to_path(self.key_file)
        self.server = grpc.server(futures.ThreadPoolExecutor(2))
        v1.add_RecordServiceServicer_to_server(self.service, self.server)
        issued = self.authority.issue_cert("storage.example")
        pair = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
        authority = self.authority.cert_pem.bytes()
        mutual = grpc.ssl_server_credentials([pair], authority, require_client_auth=True)
        self.plain = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.tls = f"127.0.0.1:{self.server.add_secure_port('127.0.0.1:0', mutual)}"
        self.server.start()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.server.stop(0)


def test_all_of_it(rig: Rig) -> None:
    """The server's certificate is checked, ours is shown, and the token is sent with each call."""
    with Client(
        f"tls:{rig.tls}",
        ca_file=rig.ca_file,
        cert_file=rig.cert_file,
        key_file=rig.key_file,
        server_name="storage.example",
        token_file=rig.token_file,
    ) as client:
        assert client.get("x").call_id == "client-7"


def test_from_the_environment(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings do the same; what is given as an argument comes first."""
    for name, value in {
        "INFERTAP_ADDRESS": rig.tls,
        "INFERTAP_TLS_CA_FILE": rig.ca_file,
        "INFERTAP_TLS_CLIENT_CERT_FILE": rig.cert_file,
        "INFERTAP_TLS_CLIENT_KEY_FILE": rig.key_file,
        "INFERTAP_TLS_SERVER_NAME": "storage.example",
        "INFERTAP_TOKEN_FILE": rig.token_file,
    }.items():
        monkeypatch.setenv(name, value)
    with Client() as client:
        assert client.get("x").call_id == "client-7"
    with Client(token="another") as client, pytest.raises(NotAllowedError):
        client.get("x")


def test_token_that_changes(rig: Rig) -> None:
    """A token file is read for each call, so that a token can be exchanged while it is used."""
    with Client(rig.plain, token_file=rig.token_file) as client:
        client.get("x")
        rig.service.token = "next-token"
        with pytest.raises(NotAllowedError, match="does not know this token"):
            client.get("x")
        Path(rig.token_file).write_text("next-token")
        client.get("x")
        with pytest.raises(NotAllowedError, match="not allowed to this identity"):
            client.get("forbidden")
        Path(rig.token_file).write_text("two words")
        with pytest.raises(ClientError, match="visible ASCII") as caught:
            client.get("x")
        assert "two words" not in str(caught.value)


def test_certificates_that_do_not_fit(rig: Rig, tmp_path: Path) -> None:
    """A server of another authority, or of another name, is not spoken to; neither is one without TLS."""
    foreign = str(tmp_path / "foreign.pem")
    trustme.CA().cert_pem.write_to_path(foreign)
    shown = {"cert_file": rig.cert_file, "key_file": rig.key_file, "token": rig.service.token}
    for address, access in (
        (rig.tls, {"ca_file": foreign, "server_name": "storage.example"}),
        (rig.tls, {"ca_file": rig.ca_file, "server_name": "other.example"}),
        (rig.plain, {"ca_file": rig.ca_file, "server_name": "storage.example"}),
    ):
        with Client(address, deadline_seconds=10, **shown, **access) as client:
            with pytest.raises(UnreachableError, match="TLS") as caught:
                client.get("x")
            assert rig.service.token not in str(caught.value)


def test_wrong_files(rig: Rig) -> None:
    """A file that is not there is named."""
    with pytest.raises(ClientError, match=r"/none\.pem: No such file"):
        Client(rig.tls, ca_file="/none.pem")
    with Client(rig.plain, token_file="/none") as client, pytest.raises(ClientError, match="/none: No such"):
        client.get("x")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"cert_file": "x"}, "needs both"),
        ({"token": "x", "token_file": "y"}, "one of them"),
        ({"token": "x"}, "storage:9903: a token is sent over TLS only"),
    ],
)
def test_what_can_not_be_meant(given: dict[str, Any], why: str) -> None:
    """Halves are refused, and so is a token that anybody on the way could read."""
    with pytest.raises(AccessError, match=why):
        Connection("storage:9903", **given)


def test_tokens_on_a_protected_way() -> None:
    """Over TLS, on this machine, or where a mesh protects the way, a token is sent."""
    expected = (("authorization", "Bearer x"),)
    assert Connection("tls:storage:9903", token="x").metadata() == expected
    assert Connection("localhost:9903", token="x").metadata() == expected
    assert Connection("[::1]:9903", token="x").metadata() == expected
    assert (
        Connection.of("storage:9903", {"INFERTAP_INSECURE": "on", "INFERTAP_TOKEN": "x"}).metadata()
        == expected
    )
    assert Connection("storage:9903").metadata() == ()


async def test_asyncio(rig: Rig) -> None:
    """The same for asyncio."""
    connection = Connection(
        rig.tls,
        ca_file=rig.ca_file,
        cert_file=rig.cert_file,
        key_file=rig.key_file,
        server_name="storage.example",
        token=rig.service.token,
    )
    async with connection.aio_channel() as channel:
        stub = v1.RecordServiceStub(channel)
        answer = await stub.GetRecord(v1.GetRecordRequest(), metadata=connection.metadata())
    assert answer.call_id == "client-7"
