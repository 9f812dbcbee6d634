"""TLS contexts: what they refuse, and how they follow their files."""

import contextlib
import os
import ssl
from pathlib import Path

import pytest
import trustme

from sidecar import config
from sidecar.tls import RECHECK_SECONDS, ClientContexts, ServerContexts, TlsError, check


class Clock:
    """Seconds, as a test sets them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def write_certificate(directory: Path, name: str) -> tuple[str, str]:
    """A certificate for `name` by an authority of its own, and its key, put in place at once."""
    issued = trustme.CA().issue_cert(name)
    files = []
    for kind, blob in (("cert", issued.cert_chain_pems[0]), ("key", issued.private_key_pem)):
        blob.write_to_path(str(directory / f"{kind}.new"))
        os.replace(directory / f"{kind}.new", directory / f"{kind}.pem")
        files.append(str(directory / f"{kind}.pem"))
    return files[0], files[1]


def name_shown(context: ssl.SSLContext) -> str:
    """The name in the certificate that a client is shown, by a handshake in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    buffers = [ssl.MemoryBIO() for _ in range(4)]
    ours = context.wrap_bio(buffers[0], buffers[1], server_side=True)
    theirs = client.wrap_bio(buffers[2], buffers[3])
    for _ in range(4):
        for end, source, target in ((theirs, buffers[3], buffers[0]), (ours, buffers[1], buffers[2])):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
            target.write(source.read())
    shown = theirs.getpeercert(binary_form=True)
    assert shown is not None
    return "two.example" if b"two.example" in shown else "one.example"


def test_changed_certificate_is_used(tmp_path: Path) -> None:
    """The next client after a change is shown the new certificate, whatever it may choose by ALPN."""
    clock = Clock()
    contexts = ServerContexts(*write_certificate(tmp_path, "one.example"), clock)
    before = contexts.context(("h2",))
    assert name_shown(before) == "one.example"
    write_certificate(tmp_path, "two.example")
    assert contexts.context(("h2",)) is before
    clock.seconds += RECHECK_SECONDS
    assert name_shown(contexts.context(("h2",))) == "two.example"
    assert name_shown(contexts.context(("http/1.1",))) == "two.example"


def test_broken_change_keeps_the_last_good_one(tmp_path: Path) -> None:
    """A half-written or vanished certificate changes nothing; once it is whole again it is used."""
    clock = Clock()
    cert, key = write_certificate(tmp_path, "one.example")
    contexts = ServerContexts(cert, key, clock)
    before = contexts.context(("h2",))
    Path(cert).write_text("-----BEGIN CERTIFICATE-----\n")
    clock.seconds += RECHECK_SECONDS
    assert contexts.context(("h2",)) is before
    Path(cert).unlink()
    clock.seconds += RECHECK_SECONDS
    assert contexts.context(("h2",)) is before
    write_certificate(tmp_path, "two.example")
    clock.seconds += RECHECK_SECONDS
    assert name_shown(contexts.context(("h2",))) == "two.example"


def settings(**chosen: str) -> config.Settings:
    return config.read({f"INFERTAP_{name.upper()}": value for name, value in chosen.items()})


def test_files_are_checked_at_the_start(tmp_path: Path) -> None:
    """What can't be used is said with the setting's name, before anything listens."""
    cert, key = write_certificate(tmp_path, "one.example")
    check(settings(listen="tls:127.0.0.1:0", tls_cert_file=cert, tls_key_file=key))
    check(settings(tls_cert_file="/none"))  # nothing listens with TLS
    with pytest.raises(TlsError, match=r"INFERTAP_TLS_CERT_FILE.*none.pem: No such file"):
        check(settings(listen="tls:127.0.0.1:0", tls_cert_file=str(tmp_path / "none.pem"), tls_key_file=key))
    with pytest.raises(TlsError, match="INFERTAP_TLS_CERT_FILE"):
        check(settings(listen="tls:127.0.0.1:0", tls_cert_file=key, tls_key_file=cert))
    with pytest.raises(TlsError, match="INFERTAP_UPSTREAM_CA_FILE: /none"):
        check(settings(upstream="tls:127.0.0.1:1", upstream_ca_file="/none"))


def test_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    """Nobody is asked for a passphrase: the start says what is wrong."""
    from cryptography.hazmat.primitives import serialization

    cert, key = write_certificate(tmp_path, "one.example")
    loaded = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    Path(key).write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TlsError, match="needs a passphrase"):
        ServerContexts(cert, key, Clock())


def test_models_are_always_checked() -> None:
    """Nothing switches off that a model's certificate and name are checked."""
    context = ClientContexts(settings(upstream="tls:model:1")).context(("h2",))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_server_name() -> None:
    """The name that is checked is the host's, unless a setting says another."""
    assert ClientContexts(settings()).server_name("model") == "model"
    assert ClientContexts(settings(upstream_server_name="iris")).server_name("model") == "iris"
