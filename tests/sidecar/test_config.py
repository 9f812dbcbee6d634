"""The sidecar's settings: what each reader understands and refuses."""

import pytest

from infertap.settings import Address, UnixPath
from sidecar import config
from sidecar.config import ContextField, FieldRule, OpaqueRule, Route, SampleRule, Settings, SettingsError


def read(**settings: str) -> Settings:
    """Settings by name, without the prefix."""
    return config.read({f"INFERTAP_{name.upper()}": value for name, value in settings.items()})


def test_one_route_by_default() -> None:
    """Nothing set: port 9000 in front of port 8000."""
    assert read().all_routes() == (Route(Address("0.0.0.0", 9000), Address("127.0.0.1", 8000)),)


def test_routes() -> None:
    """Routes replace the single one; ports alone listen everywhere; Unix sockets stand on either side."""
    routes = read(routes="9000=127.0.0.1:8000, [::1]:9001=[::1]:8001,unix:/a.sock=unix:/b.sock").all_routes()
    assert [str(each.listen) for each in routes] == ["0.0.0.0:9000", "[::1]:9001", "unix:/a.sock"]
    assert routes[2].upstream == UnixPath("/b.sock")
    assert [str(each) for each in routes] == [
        "9000=127.0.0.1:8000",
        "9001=[::1]:8001",
        "unix:/a.sock=unix:/b.sock",
    ]


def test_statuses() -> None:
    """Classes and single statuses add up."""
    failed = read(failed_statuses="5xx,429").failed_statuses
    assert {429, 500, 599} <= failed
    assert not {404, 200} & failed


def test_redaction_classes() -> None:
    """`all` less some, only some, or none; in order."""
    assert read(redact="all,-phone").redact == set(config.REDACTION_CLASSES) - {"phone", "street_address"}
    assert read(redact="all,street_address").redact == set(config.REDACTION_CLASSES)
    assert read(redact="email,jwt").redact == {"email", "jwt"}
    assert read(redact="none").redact == frozenset()


def test_rules() -> None:
    """Fields and media types name their action after the last equals sign."""
    assert read(redact_fields="$.a[*].b=hash,c=drop").redact_fields == (
        FieldRule("$.a[*].b", "hash"),
        FieldRule("c", "drop"),
    )
    assert read(opaque_bodies="image/*=keep,drop").opaque_bodies == (
        OpaqueRule("image/*", "keep"),
        OpaqueRule("*", "drop"),
    )


def test_storage_settings_are_known() -> None:
    """Sidecar and storage may share an environment."""
    assert read(storage_listen="127.0.0.1:1") == read()


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"upstream": "off"}, "INFERTAP_UPSTREAM: no upstream"),
        ({"upstream": "model"}, "INFERTAP_UPSTREAM='model': expected host:port"),
        ({"routes": "9000"}, "INFERTAP_ROUTES='9000': expected PORT=HOST:PORT"),
        ({"routes": "9000=a:1,9000=b:2"}, "INFERTAP_ROUTES: an address to listen on is listed twice"),
        ({"routes": "unix:/a=b:1,unix:/a=b:2"}, "INFERTAP_ROUTES: an address to listen on is listed twice"),
        ({"failed_statuses": "6xx"}, "INFERTAP_FAILED_STATUSES='6xx': expected statuses"),
        ({"redact": "e-mail"}, "INFERTAP_REDACT='e-mail': no redaction class 'e-mail'"),
        ({"redact_fields": "name=blur"}, "INFERTAP_REDACT_FIELDS='name=blur': expected FIELD=ACTION"),
        ({"opaque_bodies": "image/*"}, "INFERTAP_OPAQUE_BODIES='image/\\*': expected keep"),
        ({"api_listen": "0.0.0.0:9901"}, "INFERTAP_API_LISTEN='0.0.0.0:9901': beyond loopback, such as"),
        ({"api_tls_cert_file": "c"}, "INFERTAP_API_TLS_CERT_FILE, INFERTAP_API_TLS_KEY_FILE: a certificate"),
        ({"storage_tls_key_file": "k"}, "INFERTAP_STORAGE_TLS_CERT_FILE, INFERTAP_STORAGE_TLS_KEY_FILE"),
        (
            {"storage": "s:1", "storage_token_file": "t"},
            "INFERTAP_STORAGE_TOKEN_FILE: .* INFERTAP_STORAGE=tls:s:1",
        ),
        ({"storage": "unix:/s"}, "INFERTAP_STORAGE='unix:/s': expected host:port, or tls:host:port"),
        (
            {"upstream": "model:99999"},
            "INFERTAP_UPSTREAM='model:99999': expected host:port, a port of at most",
        ),
        ({"redact_actions": "emal=hash"}, "INFERTAP_REDACT_ACTIONS='emal=hash': no redaction class 'emal'"),
        ({"redact_actions": "email=blur"}, "INFERTAP_REDACT_ACTIONS='email=blur': expected CLASS=ACTION"),
        ({"sample_rules": "model:a"}, "INFERTAP_SAMPLE_RULES='model:a': expected FACT:VALUE=RATE"),
        (
            {"sample_rules": "modle:a=1"},
            "INFERTAP_SAMPLE_RULES='modle:a=1': no fact 'modle:a'; there are model:",
        ),
        ({"sample_rules": "model:a=7"}, "INFERTAP_SAMPLE_RULES='model:a=7': expected a number from 0 to 1"),
        ({"sample_rate": "1.5"}, "INFERTAP_SAMPLE_RATE='1.5': expected a number from 0 to 1"),
        ({"sampel_rate": "1"}, "INFERTAP_SAMPEL_RATE: no such setting; did you mean INFERTAP_SAMPLE_RATE"),
        ({"spool_bytes": "1KiB"}, "INFERTAP_SPOOL_BYTES='1KiB': expected"),
    ],
)
def test_faults(settings: dict[str, str], fault: str) -> None:
    """A setting that can't be used is named, with what was expected."""
    with pytest.raises(SettingsError, match=fault):
        read(**settings)


def test_free_ports_may_repeat() -> None:
    """Port 0 asks for a free one, as often as wanted."""
    assert len(read(routes="0=a:1,0=b:2").all_routes()) == 2


def test_context_fields_and_sample_rules() -> None:
    """Facts name where they stand; rules name facts and a rate."""
    assert read(context_fields="a=$.x[0].y,b=header:X-B,c=query:Q").context_fields == (
        ContextField("a", "json", "$.x[0].y"),
        ContextField("b", "header", "x-b"),
        ContextField("c", "query", "Q"),
    )
    assert read(sample_rules="model:a=b&output_tokens:>9=0.5").sample_rules == (
        SampleRule((("model", "a=b"), ("output_tokens", ">9")), 0.5),
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"context_fields": "a"},
        {"context_fields": "a=b"},
        {"context_fields": "a=header:"},
        {"context_fields": "a=$.x..y"},
        {"context_fields": "a b=$.x"},
        {"sample_rules": "model:a"},
        {"sample_rules": "model:a=2"},
        {"sample_rules": "colour:a=1"},
        {"sample_rules": "model:=1"},
        {"sample_rules": "output_tokens:9=1"},
        {"sample_rules": "=1"},
        {"redact_actions": "email=blur"},
        {"redact_actions": "mail=hash"},
    ],
)
def test_faults_of_facts_and_rules(settings: dict[str, str]) -> None:
    """What can't be read is a fault that says what is expected."""
    with pytest.raises(SettingsError, match=r"expected|there are"):
        read(**settings)


def test_beyond_loopback() -> None:
    """The API with TLS and identities, a token over TLS, and whatever INFERTAP_INSECURE takes upon itself."""
    secured = {"api_tls_cert_file": "c", "api_tls_key_file": "k", "api_identities_file": "i"}
    assert read(api_listen="0.0.0.0:9901", **secured).api_listen.host == "0.0.0.0"
    assert read(api_listen="0.0.0.0:9901", insecure="on").insecure
    assert read(storage="tls:s:1", storage_token_file="t").reaches_storage_by_tls
    assert read(storage="s:1", storage_token_file="t", storage_tls_ca_file="c").reaches_storage_by_tls
    assert not read(storage="127.0.0.1:1", storage_token_file="t").reaches_storage_by_tls
    assert read(storage="s:1", storage_token_file="t", insecure="on").insecure
