"""Secrets: tokens, keys and credentials, by the forms that their issuers give them."""

from collections.abc import Iterator
from typing import Final

from sidecar.recorder.redaction import checks
from sidecar.recorder.redaction.shapes import Shape


def _less_full_stop(candidate: bytes) -> Iterator[tuple[int, int]]:
    yield 0, len(candidate.rstrip(b"."))


# How a key begins, and the whole of it. The forms are those of the issuers' documentation.
_KEYS: Final = (
    (r"A[KSBC][IC]A", r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}"),  # AWS
    (r"gh[pousr]_", r"gh[pousr]_[0-9A-Za-z]{30,}"),  # GitHub
    (r"github_pat_", r"github_pat_[0-9A-Za-z_]{22,}"),
    (r"gl(?:pat|ptt|rt|dt|soat)-", r"gl(?:pat|ptt|rt|dt|soat)-[0-9A-Za-z_-]{20,}"),  # GitLab
    (r"xox[abeoprs]-|xapp-", r"xox[abeoprs]-[0-9A-Za-z-]{10,}|xapp-[0-9A-Za-z-]{20,}"),  # Slack
    (r"sk-", r"sk-[0-9A-Za-z_-]{20,}"),  # OpenAI, Anthropic
    (
        r"AIza|ya29\.|GOCSPX-",
        r"AIza[0-9A-Za-z_-]{35}|ya29\.[0-9A-Za-z_-]{20,}|GOCSPX-[0-9A-Za-z_-]{20,}",
    ),  # Google
    (
        r"[rs]k_(?:live|test)_|whsec_",
        r"[rs]k_(?:live|test)_[0-9A-Za-z]{16,}|whsec_[0-9A-Za-z]{24,}",
    ),  # Stripe
    (r"hf_|api_org_", r"hf_[0-9A-Za-z]{30,}|api_org_[0-9A-Za-z]{30,}"),  # Hugging Face
    (r"npm_", r"npm_[0-9A-Za-z]{36}"),
    (r"pypi-", r"pypi-[0-9A-Za-z_-]{50,}"),
    (r"SG\.", r"SG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}"),  # SendGrid
    (r"do[opr]_v1_", r"do[opr]_v1_[0-9a-f]{64}"),  # DigitalOcean
    (
        r"gsk_|xai-|r8_|pplx-",
        r"gsk_[0-9A-Za-z]{40,}|xai-[0-9A-Za-z]{40,}|r8_[0-9A-Za-z]{30,}|pplx-[0-9A-Za-z]{40,}",
    ),
    (r"AGE-SECRET-KEY-", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    (r"dapi", r"dapi[0-9a-f]{32}(?:-[0-9])?"),  # Databricks
    (r"shp(?:at|ca|pa|ss)_", r"shp(?:at|ca|pa|ss)_[0-9A-Fa-f]{32}"),  # Shopify
    (r"sq0(?:atp|csp|idp)-", r"sq0(?:atp|csp|idp)-[0-9A-Za-z_-]{20,}"),  # Square
    (r"SK[0-9a-f]{8}", r"SK[0-9a-f]{32}"),  # Twilio
    (r"key-[0-9a-z]{8}", r"key-[0-9a-z]{32}"),  # Mailgun
    (
        r"lin_api_|ntn_|secret_",
        r"lin_api_[0-9A-Za-z]{32,}|ntn_[0-9A-Za-z]{40,}|secret_[0-9A-Za-z]{40,}",
    ),  # Linear, Notion
    (r"PMAK-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),  # Postman
    (r"gl(?:sa|c)_", r"glsa_[0-9A-Za-z]{32}_[0-9A-Fa-f]{8}|glc_[0-9A-Za-z+/=]{32,}"),  # Grafana
    (
        r"hv[sbr]\.|atlasv1",
        r"hv[sbr]\.[0-9A-Za-z_-]{24,}|[0-9A-Za-z]{14}\.atlasv1\.[0-9A-Za-z_-]{60,}",
    ),  # HashiCorp
    (r"sntry[su]_", r"sntry[su]_[0-9A-Za-z+/=_-]{40,}"),  # Sentry
    (r"dp\.(?:pt|st|ct|sa|scim|audit)\.", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[0-9A-Za-z_.-]{40,}"),  # Doppler
    (
        r"pscale_|sbp_",
        r"pscale_(?:tkn|pw|oauth)_[0-9A-Za-z_.-]{32,}|sbp_[0-9a-f]{40}",
    ),  # PlanetScale, Supabase
    (r"tskey-", r"tskey-[a-z]+-[0-9A-Za-z-]{20,}"),  # Tailscale
)

SECRETS: Final = (
    Shape(
        "jwt",
        r"eyJ[0-9A-Za-z_-]{5}",
        r"(?:^|[^0-9A-Za-z])(?P<it>eyJ[0-9A-Za-z_-]{5,}\.[0-9A-Za-z_-]{5,}(?:\.[0-9A-Za-z_-]*){0,3})",
        narrow=_less_full_stop,
    ),
    Shape(
        "bearer",
        r"(?i:bearer|basic)[ \t]",
        r"(?i:\b(?:bearer|basic))[ \t]+(?P<it>[0-9A-Za-z._~+/-]{8,}=*)",
        checks.is_token,
    ),
    Shape(
        "private_key",
        r"-----BEGIN ",
        r"(?s)(?P<it>-----BEGIN [0-9A-Z ]{0,40}PRIVATE KEY-----.*?"
        r"(?:-----END [0-9A-Z ]{0,40}PRIVATE KEY-----|$))",
    ),
    Shape(
        "api_key",
        "|".join(hint for hint, _ in _KEYS),
        r"(?:^|[^0-9A-Za-z])(?P<it>" + "|".join(form for _, form in _KEYS) + ")",
    ),
    Shape(
        "api_key",
        r"[0-9]:AA[0-9A-Za-z_-]{33}|hooks\.slack\.com/|AccountKey=|[?&]sig=",
        r"(?:\b|[?&])(?P<it>[0-9]{8,10}:AA[0-9A-Za-z_-]{33}|hooks\.slack\.com/(?:services|workflows)/[0-9A-Za-z/_+-]{20,}"
        r"|AccountKey=[0-9A-Za-z+/]{40,}={0,2}|sig=[0-9A-Za-z%+/_-]{20,}(?:=|%3D){0,2})",
    ),
    Shape(
        "url_credential",
        r"://[^\s/@\"'<>]{1,200}@",
        r"[A-Za-z][0-9A-Za-z+.-]{1,20}://(?P<it>[^\s/@:\"'<>]{0,200}:[^\s/@\"'<>]{1,200})@",
    ),
    # Named where it stands: `password = …`, `"api_key": "…"`, `client_secret=…`.
    Shape(
        "api_key",
        r"(?i:key|token|secret|passwo?r?d|pwd)[\"']?[ \t]{0,4}[:=]",
        r"(?i:\b(?:api[_-]?key|(?:access|auth|refresh|session|id)[_-]?token|client[_-]?secret"
        r"|secret[_-]?(?:access[_-]?)?key|passw(?:or)?d|pwd))"
        r"[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?(?P<it>[^\s\"',;&<>{}\[\]\\]{6,})",
    ),
)
