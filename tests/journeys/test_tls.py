"""TLS on either side of the relay, with the protocol that client and model have in common."""

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import httpx
import pytest
import trustme

from tests.journeys.test_http2_clients import Http2Model, echo

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

    StartSidecar = Callable[..., Sidecar]

REQUEST = b"POST /v1/predict HTTP/1.1\r\nHost: model\r\nX-Request-Id: mine\r\nContent-Length: 4\r\n\r\nping"
ANSWER = b"HTTP/1.1 200 OK\r\nX-Request-Id: mine\r\nContent-Length: 4\r\n\r\npong"


class Certificates:
    """An authority, and a certificate of it for localhost, as files."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("localhost")
        self.ca, self.cert, self.key = (str(directory / f"{name}.pem") for name in ("ca", "cert", "key"))
        self.authority.cert_pem.write_to_path(self.ca)
        issued.cert_chain_pems[0].write_to_path(self.cert)
        issued.private_key_pem.write_to_path(self.key)

    def server(self, *protocols: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        context.set_alpn_protocols(list(protocols))
        return context

    def client(self, *protocols: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        context.set_alpn_protocols(list(protocols))
        return context


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@contextlib.contextmanager
def serving(context: ssl.SSLContext, answer: Callable[[ssl.SSLSocket], None]) -> Iterator[str]:
    """Address of a model behind TLS, whose connections have a thread each."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(plain: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
            answer(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    yield f"tls:127.0.0.1:{listening.getsockname()[1]}"
    listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    listening.close()


def plain_http2(connection: socket.socket) -> None:
    """A model that knows nothing but HTTP/2."""
    with contextlib.suppress(h2.exceptions.ProtocolError):
        Http2Model(echo)(connection)


def towards(certificates: Certificates, **more: str) -> dict[str, str]:
    """Settings for TLS on both sides."""
    return {
        "tls_cert_file": certificates.cert,
        "tls_key_file": certificates.key,
        "upstream_ca_file": certificates.ca,
        "upstream_server_name": "localhost",
    } | more


@pytest.fixture
def tls_model(certificates: Certificates) -> Iterator[str]:
    """A model behind TLS that answers each REQUEST and speaks http/1.1 only."""

    def answer(connection: ssl.SSLSocket) -> None:
        while receive(connection, len(REQUEST)) == REQUEST:
            connection.sendall(ANSWER)

    with serving(certificates.server("http/1.1"), answer) as address:
        yield address


def receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size and (piece := connection.recv(65536)):
        received += piece
    return received


def call(address: tuple[str, int], context: ssl.SSLContext | None) -> tuple[bytes, str | None]:
    """One call; the answer and what ALPN settled on."""
    with socket.create_connection(address, timeout=10) as plain:
        if context is None:
            plain.sendall(REQUEST)
            return receive(plain, len(ANSWER)), None
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            connection.sendall(REQUEST)
            return receive(connection, len(ANSWER)), connection.selected_alpn_protocol()


@pytest.mark.parametrize("protocol", ["http/1.1", "auto"])
def test_tls_on_both_sides(
    start_sidecar: "StartSidecar", certificates: Certificates, tls_model: str, protocol: str
) -> None:
    """A client that offers both protocols gets the one that the model speaks, and its call is seen."""
    sidecar = start_sidecar(
        tls_model,
        listen="tls:127.0.0.1:0",
        protocol=protocol,
        tls_cert_file=certificates.cert,
        tls_key_file=certificates.key,
        upstream_ca_file=certificates.ca,
        upstream_server_name="localhost",
    )
    for _ in range(3):
        assert call(sidecar.address, certificates.client("h2", "http/1.1")) == (ANSWER, "http/1.1")
    assert sidecar.await_account(lambda each: each["calls"]["open"] == 0)["calls"]["seen"] == 3


def test_tls_towards_the_model_only(
    start_sidecar: "StartSidecar", certificates: Certificates, tls_model: str
) -> None:
    """A plain client reaches a model behind TLS."""
    sidecar = start_sidecar(
        tls_model, upstream_ca_file=certificates.ca, upstream_server_name="localhost", protocol="auto"
    )
    assert call(sidecar.address, None) == (ANSWER, None)


def test_model_with_a_certificate_of_another(
    start_sidecar: "StartSidecar", certificates: Certificates, tls_model: str
) -> None:
    """A model that can't show whom it is gets no traffic: clients are refused."""
    sidecar = start_sidecar(tls_model, upstream_ca_file=certificates.ca, upstream_server_name="other")
    with pytest.raises(ConnectionError):
        call(sidecar.address, None)


def test_client_that_speaks_no_tls(
    start_sidecar: "StartSidecar", certificates: Certificates, tls_model: str
) -> None:
    """Plain bytes at a TLS address end that connection, are counted, and harm no other."""
    sidecar = start_sidecar(
        tls_model,
        listen="tls:127.0.0.1:0",
        tls_cert_file=certificates.cert,
        tls_key_file=certificates.key,
        upstream_ca_file=certificates.ca,
        upstream_server_name="localhost",
    )
    with socket.create_connection(sidecar.address, timeout=10) as plain, contextlib.suppress(ConnectionError):
        plain.sendall(REQUEST)
        assert not plain.recv(100).startswith(b"HTTP")
    assert call(sidecar.address, certificates.client("http/1.1"))[0] == ANSWER
    assert re.search(r"tls_handshakes_failed_total\S* 1\n", sidecar.get("/metrics")[1])


@pytest.mark.parametrize("protocol", ["h2", "auto"])
def test_plain_model_that_speaks_http2(
    start_sidecar: "StartSidecar",
    start_model: "Callable[..., Model]",
    certificates: Certificates,
    protocol: str,
) -> None:
    """A TLS client that can speak both gets HTTP/2 where a model without TLS speaks it, which is asked."""
    sidecar = start_sidecar(
        start_model(plain_http2).address, **towards(certificates, listen="tls:127.0.0.1:0", protocol=protocol)
    )
    with httpx.Client(http2=True, verify=certificates.client(), timeout=20) as client:
        for number in range(3):
            answer = client.post(f"https://localhost:{sidecar.address[1]}/v1/x", json={"n": number})
            assert (answer.http_version, answer.json()) == ("HTTP/2", {"n": number})
    assert sidecar.await_account(lambda each: each["calls"]["open"] == 0)["calls"]["seen"] == 3


def test_routes_name_their_protocols(
    start_sidecar: "StartSidecar",
    start_model: "Callable[..., Model]",
    certificates: Certificates,
    tls_model: str,
) -> None:
    """Each route offers what its own model speaks, over IPv6 too and with several relays."""
    web2 = start_model(plain_http2).address
    routes = f"tls:[::1]:0={web2};h2,tls:127.0.0.1:0={tls_model};http/1.1"
    sidecar = start_sidecar("off", **towards(certificates, routes=routes, workers="2"))
    for listening, chosen in zip(sidecar.listen, ("h2", "http/1.1"), strict=True):
        host, _, port = listening.removeprefix("tls:").rpartition(":")
        for _ in range(4):
            with (
                socket.create_connection((host.strip("[]"), int(port)), timeout=10) as plain,
                certificates.client("h2", "http/1.1").wrap_socket(
                    plain, server_hostname="localhost"
                ) as client,
            ):
                assert client.selected_alpn_protocol() == chosen


def test_refusal_over_tls(start_sidecar: "StartSidecar", certificates: Certificates, tls_model: str) -> None:
    """A request that is rejected gets its 400 over TLS too, whole, and then an orderly end."""
    sidecar = start_sidecar(
        tls_model, **towards(certificates, listen="tls:127.0.0.1:0", ambiguous_framing="reject")
    )
    with (
        socket.create_connection(sidecar.address, timeout=10) as plain,
        certificates.client("http/1.1").wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(REQUEST.replace(b"Content-Length: 4", b"Content-Length: 4\r\nContent-Length: 5"))
        answer = receive(client, 1 << 20)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"onnection: close" in answer


def test_certificate_that_is_not_there(start_sidecar: "StartSidecar", tmp_path: Path) -> None:
    """The sidecar ends at once with one line."""
    with pytest.raises(
        AssertionError, match=r"INFERTAP_TLS_CERT_FILE, INFERTAP_TLS_KEY_FILE: .*No such file"
    ):
        start_sidecar(
            "127.0.0.1:1", listen="tls:127.0.0.1:0", tls_cert_file="/none.pem", tls_key_file="/none.pem"
        )


# -- HTTP/2, and certificates that change


@pytest.fixture
def http2_model(certificates: Certificates) -> Iterator[str]:
    """A model behind TLS that speaks HTTP/2 only, and answers 200 to whatever is asked."""

    def answer(connection: ssl.SSLSocket) -> None:
        model = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        model.initiate_connection()
        connection.sendall(model.data_to_send())
        while data := connection.recv(65536):
            for event in model.receive_data(data):
                if isinstance(event, h2.events.StreamEnded):
                    model.send_headers(event.stream_id or 0, [(":status", "200")], end_stream=True)
            connection.sendall(model.data_to_send())

    with serving(certificates.server("h2"), answer) as address:
        yield address


@pytest.mark.parametrize("protocol", ["h2", "auto"])
def test_http2_on_both_sides(
    start_sidecar: "StartSidecar", certificates: Certificates, http2_model: str, protocol: str
) -> None:
    """A client that prefers HTTP/1.1 gets HTTP/2, which is all that the model speaks; its calls are seen."""
    sidecar = start_sidecar(
        http2_model,
        listen="tls:127.0.0.1:0",
        protocol=protocol,
        tls_cert_file=certificates.cert,
        tls_key_file=certificates.key,
        upstream_ca_file=certificates.ca,
        upstream_server_name="localhost",
    )
    url = f"https://localhost:{sidecar.address[1]}/v1/x"
    with httpx.Client(http2=True, verify=ssl.create_default_context(cafile=certificates.ca)) as client:
        answers = [client.get(url) for _ in range(3)]
    assert [(answer.status_code, answer.http_version) for answer in answers] == [(200, "HTTP/2")] * 3
    records = sidecar.await_records(3)
    assert {record.request_id for record in records} == {answer.headers["x-request-id"] for answer in answers}


def test_certificate_that_changes(
    start_sidecar: "StartSidecar", certificates: Certificates, tls_model: str
) -> None:
    """Soon after a change clients are shown the new certificate, while an older connection goes on."""
    sidecar = start_sidecar(
        tls_model,
        listen="tls:127.0.0.1:0",
        tls_cert_file=certificates.cert,
        tls_key_file=certificates.key,
        upstream_ca_file=certificates.ca,
        upstream_server_name="localhost",
    )

    @contextlib.contextmanager
    def client() -> Iterator[ssl.SSLSocket]:
        with (
            socket.create_connection(sidecar.address, timeout=10) as plain,
            certificates.client("http/1.1").wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            yield connection

    def shown() -> bytes | None:
        with client() as connection:
            return connection.getpeercert(binary_form=True)

    with client() as older:
        before = shown()
        issued = certificates.authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(certificates.key)
        issued.cert_chain_pems[0].write_to_path(certificates.cert)
        deadline = time.monotonic() + 20
        while shown() == before:
            assert time.monotonic() < deadline, "the old certificate is still shown"
            time.sleep(0.1)
        older.sendall(REQUEST)
        assert receive(older, len(ANSWER)) == ANSWER
