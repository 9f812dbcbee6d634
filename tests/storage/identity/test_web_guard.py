"""The web port: every route has its role; tokens and certificates; how many may connect, and how slowly."""

import asyncio
import base64
import hashlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web

from infertap.identity import ServerFiles, caller_of
from infertap.settings import Address
from storage.identity import Access, AccessFiles
from storage.identity.web_guard import OPEN, ROLES
from storage.web import listen_web

TOKEN = "reader-token"
IDENTITIES = f"""
[[identity]]
name = "reader"
tenant = "red"
roles = ["read"]
tokens = ["sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}"]
certificates = ["cn:reader-7"]
"""


class Site:
    """An application behind the guard that tells who it thinks asks."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("localhost")
        issued.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
        issued.private_key_pem.write_to_path(str(directory / "key.pem"))
        self.authority.cert_pem.write_to_path(str(directory / "ca.pem"))
        (directory / "identities.toml").write_text(IDENTITIES)
        files = ServerFiles(*(str(directory / name) for name in ("cert.pem", "key.pem", "ca.pem")))
        self.refused: list[tuple[str, str]] = []
        self.access = Access(
            AccessFiles(files, str(directory / "identities.toml"), str(directory / "access.log")),
            lambda *refusal: self.refused.append(refusal),
        )

    async def start(self) -> None:
        async def tell(request: web.Request) -> web.Response:
            caller = caller_of(request)
            return web.Response(text=f"{caller.name} {caller.tenant}")

        app = web.Application(middlewares=[self.access.web_guard.middleware])
        app.add_routes(
            [
                web.get("/", tell),
                web.get("/rows", tell),
                web.get("/unlisted", tell),
                web.get("/healthz", tell),
            ]
        )
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        assert self.access.certificates is not None
        context = self.access.certificates.for_http()
        self.server = await listen_web(self.runner, Address("127.0.0.1", 0), context)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.server.close()
        await self.runner.cleanup()
        self.access.close()

    async def get(
        self, path: str, *authorization: str, certificate: trustme.LeafCert | None = None
    ) -> tuple[int, str]:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if certificate is not None:
            certificate.configure_cert(context)
        headers = [("Authorization", each) for each in authorization]
        url = f"https://localhost:{self.port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers=headers, ssl=context) as answer,
        ):
            return answer.status, await answer.text()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    await made.start()
    yield made
    await made.stop()


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "shown", [f"Bearer {TOKEN}", f"bearer  {TOKEN}", basic(f"ana:{TOKEN}"), basic(f":{TOKEN}")]
)
async def test_known(site: Site, shown: str) -> None:
    """A token as Bearer, or as the password of Basic whatever the user, is its identity."""
    assert await site.get("/", shown) == (200, "reader red")


@pytest.mark.parametrize(
    "shown",
    [
        [],
        ["Bearer wrong"],
        [TOKEN],
        ["Basic ???"],
        [basic(TOKEN)],
        [f"Digest {TOKEN}"],
        [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
    ],
)
async def test_unknown(site: Site, shown: list[str]) -> None:
    """Anything else is 401, and counted; the answer quotes nothing."""
    status, text = await site.get("/", *shown)
    assert status == 401
    assert TOKEN not in text
    assert [method for method, _ in site.refused] == ["GET /"]


async def test_certificates(site: Site) -> None:
    """A client certificate is an identity by its names; one of another authority is no connection."""
    known = site.authority.issue_cert("x.example", common_name="reader-7")
    assert await site.get("/", certificate=known) == (200, "reader red")
    status, _ = await site.get("/", certificate=site.authority.issue_cert("y.example"))
    assert (status, [reason for _, reason in site.refused]) == (401, ["unknown_certificate"])
    with pytest.raises(aiohttp.ClientError):
        await site.get("/", certificate=trustme.CA().issue_cert("x.example", common_name="reader-7"))


async def test_certificate_that_changes(site: Site, tmp_path: Path) -> None:
    """The next handshake after a look meets the new certificate and the new authorities."""
    before = site.authority.issue_cert("x.example", common_name="reader-7")
    site.authority = trustme.CA()
    issued = site.authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    site.authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    assert site.access.certificates is not None
    assert site.access.certificates.look()
    after = site.authority.issue_cert("x.example", common_name="reader-7")
    assert await site.get("/", certificate=after) == (200, "reader red")
    with pytest.raises(aiohttp.ClientError):
        await site.get("/", certificate=before)


async def test_too_many_connections(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a new connection is closed at once, and those that are there go on."""
    monkeypatch.setattr("storage.web.listening.MOST_CONNECTIONS", 1)
    context = ssl.create_default_context()
    site.authority.configure_trust(context)
    first = await asyncio.open_connection("localhost", site.port, ssl=context)
    first[1].write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await first[0].readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    second = await asyncio.open_connection("localhost", site.port, ssl=context)
    async with asyncio.timeout(20):
        assert await second[0].read() == b""
    first[1].write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await first[0].readuntil(b"HTTP/1.1 200")).endswith(b"200")
    for _, writer in (first, second):
        writer.close()


async def test_slow_handshake(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that connects and says nothing is gone after a while."""
    monkeypatch.setattr("storage.web.listening.HANDSHAKE_SECONDS", 0.2)
    assert site.access.certificates is not None
    server = await listen_web(site.runner, Address("127.0.0.1", 0), site.access.certificates.for_http())
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    writer.close()
    server.close()


async def test_which_reads_are_logged(site: Site, tmp_path: Path) -> None:
    """The page is; its refresh, which shows no payload, only where it looks for a text, never quoted."""
    for path in ("/", "/rows", "/rows?model=iris", "/rows?text=alice", "/healthz"):
        assert (await site.get(path, f"Bearer {TOKEN}"))[0] == 200
    lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
    assert [(each["method"], each["asked"]) for each in lines] == [
        ("GET /", {}),
        ("GET /rows", {"text": "(5 characters)"}),
    ]


async def test_routes(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    """Health is open; a route that nobody has given a role is refused, and the log says to whom; one that is
    not there is 404.
    """
    assert (await site.get("/healthz"))[0] == 200
    assert (await site.get("/unlisted", f"Bearer {TOKEN}"))[0] == 403
    assert '"identity": "reader"' in capfd.readouterr().err
    assert (await site.get("/nowhere"))[0] == 404


def test_every_route_of_the_application_has_a_role(tmp_path: Path) -> None:
    """A new route without a role fails here (and is refused); a role of a route that is gone, too."""
    from storage.web import Pages, PostedFeedback

    nothing: Any = None
    pages = Pages.__new__(Pages)
    posted = PostedFeedback(nothing, ())
    found = {(each.method, each.path) for each in [*pages.routes(), *posted.routes()]}
    assert found == set(ROLES) | OPEN
