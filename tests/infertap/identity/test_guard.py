"""The guard of a gRPC server, over real connections: who comes through, as whom, and what others are told."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from infertap import v1
from infertap.identity import (
    ANYONE,
    Changing,
    Guard,
    Identity,
    Refusal,
    Role,
    Roster,
    ServerCertificates,
    ServerFiles,
    caller_of,
    open_roster,
)
from infertap.identity import guard as guard_room

WAIT_SECONDS = 20
READER, WRITER = "reader-token", "writer-token"


def line(name: str, role: str, token: str, tenant: str = "t", certificate: str = "") -> str:
    hashed = hashlib.sha256(token.encode()).hexdigest()
    rule = f'certificates = ["{certificate}"]\n' if certificate else ""
    return (
        f'[[identity]]\nname = "{name}"\ntenant = "{tenant}"\nroles = ["{role}"]\n'
        f'tokens = ["sha256:{hashed}"]\n{rule}'
    )


IDENTITIES = line("reader", "read", READER, "*", "dns:reader.example") + line("writer", "ingest", WRITER)


class Kept:
    """What the guard told of refusals and reads."""

    def __init__(self) -> None:
        self.refusals: list[tuple[str, Refusal, str]] = []
        self.reads: list[tuple[str, str, str, int]] = []
        self.can_log = True

    def refused(self, method: str, reason: Refusal, peer: str, name: str) -> None:
        assert peer.startswith("ipv4:127.0.0.1:")
        self.refusals.append((method.rpartition("/")[2], reason, name))

    def of(self, identity: Identity, method: str, request: Any, peer: str) -> "Kept.Reading | None":
        return self.Reading(self, identity.name, method.rpartition("/")[2])

    class Reading:
        is_act = False

        def __init__(self, kept: "Kept", name: str, method: str) -> None:
            self._kept, self._name, self._method, self._count = kept, name, method, 0

        def _say(self, state: str) -> None:
            self._kept.reads.append((self._name, self._method, state, self._count))

        async def begin(self) -> None:
            if not self._kept.can_log:
                raise OSError("disk full")
            self._say("began")

        def count(self, answer: Any) -> None:
            self._count += 1

        async def end(self) -> None:
            if not self._kept.can_log:
                raise OSError("disk full")
            self._say("answered")

        def over(self, *, is_failed: bool) -> None:
            self._say("failed" if is_failed else "ended")


class Serving(v1.RecordServiceServicer, v1.IngestServiceServicer):
    """Answers with who it thinks calls."""

    async def GetRecord(self, request: Any, context: Any) -> v1.Record:  # noqa: N802
        caller = await asyncio.to_thread(caller_of, context)
        assert caller == caller_of(context)
        if request.call_id == "none":
            await context.abort(grpc.StatusCode.NOT_FOUND, "none")
        if request.call_id == "another's":
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "of another tenant")
        return v1.Record(call_id=caller.name, tenant="*" if caller.tenant is None else caller.tenant)

    async def TailRecords(self, request: Any, context: Any) -> AsyncIterator[v1.Record]:  # noqa: N802
        yield v1.Record(call_id=caller_of(context).name)
        await asyncio.sleep(WAIT_SECONDS)

    async def Ingest(self, requests: Any, context: Any) -> AsyncIterator[v1.IngestResponse]:  # noqa: N802
        async for _ in requests:
            task = asyncio.create_task(self._ack())
            yield await task

    async def _ack(self) -> v1.IngestResponse:
        return v1.IngestResponse(reject=v1.Reject(reason=caller_of(None).writes_as))


class Undeclared(grpc.GenericRpcHandler):
    """A method that nobody has given a role."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            return b"served"

        wanted = handler_call_details.method == "/infertap.v1.NewService/Do"
        return grpc.unary_unary_rpc_method_handler(answer) if wanted else None


class Rig:
    """A guarded server on a free port."""

    def __init__(self, tmp_path: Path, identities: str | None, most_calls: int = 1000) -> None:
        self.kept = Kept()
        self.events: list[str] = []
        self.path = tmp_path / "identities.toml"
        roster: Changing[Roster] | None = None
        if identities is not None:
            self.path.write_text(identities)
            roster = open_roster(str(self.path), self.say)
        self.guard = Guard(roster, self.kept, self.kept, most_calls=most_calls)
        self.server = grpc.aio.server(interceptors=[self.guard])
        v1.add_RecordServiceServicer_to_server(Serving(), self.server)
        v1.add_IngestServiceServicer_to_server(Serving(), self.server)
        health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), self.server)
        self.server.add_generic_rpc_handlers([Undeclared()])
        reflection.enable_server_reflection((reflection.SERVICE_NAME,), self.server)
        self.port = 0

    def say(self, event: str, **facts: object) -> None:
        self.events.append(event)

    async def start(self, certificates: ServerCertificates | None = None) -> None:
        if certificates is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", certificates.for_grpc())
        await self.server.start()

    def channel(self, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
        options = (("grpc.use_local_subchannel_pool", 1),)
        if credentials is None:
            return grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=options)
        return grpc.aio.secure_channel(f"localhost:{self.port}", credentials, options=options)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, IDENTITIES)
    await made.start()
    yield made
    await made.server.stop(0)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


async def get(channel: grpc.aio.Channel, *headers: tuple[str, str], call_id: str = "x") -> v1.Record:
    request = v1.GetRecordRequest(call_id=call_id)
    answer = await v1.RecordServiceStub(channel).GetRecord(request, metadata=headers, timeout=WAIT_SECONDS)
    assert isinstance(answer, v1.Record)
    return answer


async def test_let_in(rig: Rig) -> None:
    """A known token with the role comes through, as its identity, in threads and tasks of the call too."""
    async with rig.channel() as channel:
        record = await get(channel, *bearer(READER))
        assert (record.call_id, record.tenant) == ("reader", "*")
        assert (await get(channel, ("authorization", f"BEARER   {READER} "))).call_id == "reader"
        call = v1.IngestServiceStub(channel).Ingest(metadata=bearer(WRITER))
        await call.write(v1.IngestRequest())
        assert (await call.read()).reject.reason == "t"
        call.cancel()
    assert rig.kept.refusals == []


@pytest.mark.parametrize(
    ("headers", "code", "reason", "name"),
    [
        ((), "UNAUTHENTICATED", Refusal.NO_CREDENTIALS, ""),
        (bearer("wrong"), "UNAUTHENTICATED", Refusal.UNKNOWN_TOKEN, ""),
        (bearer(""), "UNAUTHENTICATED", Refusal.UNKNOWN_TOKEN, ""),
        ((("authorization", READER),), "UNAUTHENTICATED", Refusal.UNKNOWN_TOKEN, ""),
        ((("authorization", "Basic cmVhZGVy"),), "UNAUTHENTICATED", Refusal.UNKNOWN_TOKEN, ""),
        (bearer(READER) * 2, "UNAUTHENTICATED", Refusal.UNKNOWN_TOKEN, ""),
        (bearer(WRITER), "PERMISSION_DENIED", Refusal.ROLE, "writer"),
    ],
)
async def test_refused(rig: Rig, headers: Any, code: str, reason: Refusal, name: str) -> None:
    """Others are refused with the right status, which tells no more; server-side the reason is known."""
    async with rig.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get(channel, *headers)
        tail = v1.RecordServiceStub(channel).TailRecords(v1.TailRecordsRequest(), metadata=headers)
        with pytest.raises(grpc.aio.AioRpcError) as caught_tail:
            await tail.read()
    assert [caught.value.code().name, caught_tail.value.code().name] == [code, code]
    assert "writer" not in str(caught.value.details())
    assert rig.kept.refusals == [("GetRecord", reason, name), ("TailRecords", reason, name)]
    assert rig.kept.reads == []


async def test_refused_by_the_service(rig: Rig) -> None:
    """What a service itself denies is counted like the rest, by the identity; other ends are not."""
    async with rig.channel() as channel:
        for call_id in ("none", "another's"):
            with pytest.raises(grpc.aio.AioRpcError):
                await get(channel, *bearer(READER), call_id=call_id)
        async with asyncio.timeout(WAIT_SECONDS):
            while not rig.kept.refusals:  # noqa: ASYNC110  (nothing tells; its caller may hear of it first)
                await asyncio.sleep(0.01)
    assert rig.kept.refusals == [("GetRecord", Refusal.TENANT, "reader")]


async def test_method_without_a_role(rig: Rig, tmp_path: Path) -> None:
    """What nobody has given a role is refused, whoever calls, also where no identities are configured."""
    await (open_rig := Rig(tmp_path, None)).start()
    for each in (rig, open_rig):
        async with each.channel() as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/infertap.v1.NewService/Do")(b"", metadata=bearer(READER))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert [reason for _, reason, _ in each.kept.refusals] == [Refusal.METHOD]
    await open_rig.server.stop(0)


async def test_method_that_is_not_there(rig: Rig) -> None:
    """It is unimplemented, as ever."""
    async with rig.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/infertap.v1.None/Do")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_health_is_open(rig: Rig) -> None:
    """Whoever orchestrates asks without identity."""
    async with rig.channel() as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_is_for_who_is_known(rig: Rig) -> None:
    """Any identity may ask what is served, and nobody else."""
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    codes = []
    async with rig.channel() as channel:
        for headers in (bearer(WRITER), ()):
            call = channel.stream_stream(path)(metadata=headers)
            await call.done_writing()
            codes.append(await call.code())
    assert codes == [grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED]


async def test_nothing_configured(tmp_path: Path) -> None:
    """Without an identities file everybody may call, and is nobody in particular."""
    rig = Rig(tmp_path, None)
    await rig.start()
    async with rig.channel() as channel:
        assert (await get(channel)).tenant == "*"
        assert (await get(channel, *bearer("whatever"))).call_id == ""
    await rig.server.stop(0)
    assert ANYONE.roles == frozenset(Role)
    assert ANYONE.writes_as == ""


async def test_streams_end_with_their_identity(rig: Rig) -> None:
    """A stream ends when its token is taken away; another's goes on, and so does one whose file is spoilt."""
    async with rig.channel() as channel:
        tail = v1.RecordServiceStub(channel).TailRecords(v1.TailRecordsRequest(), metadata=bearer(READER))
        assert (await tail.read()).call_id == "reader"
        ingest = v1.IngestServiceStub(channel).Ingest(metadata=bearer(WRITER))
        await ingest.write(v1.IngestRequest())
        await ingest.read()
        rig.path.write_text("spoilt")
        await rig.guard.look()
        rig.path.write_text(line("reader", "read", "another-token", "*") + line("writer", "ingest", WRITER))
        await rig.guard.look()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async with asyncio.timeout(WAIT_SECONDS):
                await tail.read()
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        await ingest.write(v1.IngestRequest())
        assert (await ingest.read()).reject.reason == "t"
        rig.path.write_text(line("writer", "read", WRITER))
        await rig.guard.look()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async with asyncio.timeout(WAIT_SECONDS):
                await ingest.read()
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert (
        rig.events
        == ["identities file can't be used: keeping the last good one"] + ["identities file read again"] * 2
    )


async def test_reads_are_told(rig: Rig) -> None:
    """Reads are logged before they are answered, and failed ones and streams at their end; what can't be
    logged is not answered.
    """
    async with rig.channel() as channel:
        await get(channel, *bearer(READER))
        with pytest.raises(grpc.aio.AioRpcError):
            await get(channel, *bearer(READER), call_id="none")
        tail = v1.RecordServiceStub(channel).TailRecords(v1.TailRecordsRequest(), metadata=bearer(READER))
        await tail.read()
        assert rig.kept.reads == [
            ("reader", "GetRecord", "answered", 1),
            ("reader", "GetRecord", "failed", 0),
            ("reader", "TailRecords", "began", 0),
        ]
        tail.cancel()
        rig.kept.can_log = False
        codes = []
        for call in (
            get(channel, *bearer(READER)),
            v1.RecordServiceStub(channel)
            .TailRecords(v1.TailRecordsRequest(), metadata=bearer(READER))
            .read(),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            codes.append(caught.value.code())
    assert codes == [grpc.StatusCode.UNAVAILABLE] * 2


# -- TLS


class Certificates:
    """A server's files, and an authority of clients."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.directory = directory
        self.client_authority = trustme.CA()
        self.issue()
        (directory / "ca.pem").write_bytes(self.client_authority.cert_pem.bytes())
        self.files = ServerFiles(*(str(directory / name) for name in ("cert.pem", "key.pem", "ca.pem")))

    def issue(self) -> None:
        issued = self.authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(str(self.directory / "key.pem"))
        issued.cert_chain_pems[0].write_to_path(str(self.directory / "cert.pem"))

    def client(self, *names: str, authority: trustme.CA | None = None) -> grpc.ChannelCredentials:
        issued = (authority or self.client_authority).issue_cert(*names) if names else None
        return grpc.ssl_channel_credentials(
            self.authority.cert_pem.bytes(),
            issued.private_key_pem.bytes() if issued else None,
            issued.cert_chain_pems[0].bytes() if issued else None,
        )


async def test_client_certificates(tmp_path: Path) -> None:
    """A certificate of the client authority is an identity by its name; of another it is no connection."""
    certificates, rig = Certificates(tmp_path), Rig(tmp_path, IDENTITIES)
    await rig.start(ServerCertificates(certificates.files, rig.say))
    async with rig.channel(certificates.client("reader.example")) as channel:
        assert (await get(channel)).call_id == "reader"
    async with rig.channel(certificates.client("nobody.example")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get(channel)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert (await get(channel, *bearer(READER))).call_id == "reader"
    for credentials in (certificates.client("reader.example", authority=trustme.CA()), certificates.client()):
        async with rig.channel(credentials) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await get(channel)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert rig.kept.refusals == [("GetRecord", Refusal.UNKNOWN_CERTIFICATE, "")]
    await rig.server.stop(0)


async def test_certificates_of_spiffe(
    tmp_path: Path, spiffe: Callable[[trustme.CA, str], tuple[bytes, bytes]]
) -> None:
    """A URI in a certificate is known, by its beginning where the rule ends with a star."""
    certificates = Certificates(tmp_path)
    rig = Rig(tmp_path, line("sa", "read", "unused-token", "*", "uri:spiffe://x/ns/team-a/*"))
    await rig.start(ServerCertificates(certificates.files, rig.say))
    codes = []
    for uri in ("spiffe://x/ns/team-a/sa/model", "spiffe://x/ns/team-b/sa/model"):
        chain, key = spiffe(certificates.client_authority, uri)
        shown = grpc.ssl_channel_credentials(certificates.authority.cert_pem.bytes(), key, chain)
        async with rig.channel(shown) as channel:
            try:
                codes.append((await get(channel)).call_id)
            except grpc.aio.AioRpcError as error:
                codes.append(error.code().name)
    assert codes == ["sa", "UNAUTHENTICATED"]
    await rig.server.stop(0)


async def test_certificates_that_change(tmp_path: Path) -> None:
    """After a look new connections meet the new certificate and authorities; a spoilt key changes nothing."""
    certificates, rig = Certificates(tmp_path), Rig(tmp_path, IDENTITIES)
    served = ServerCertificates(certificates.files, rig.say)
    await rig.start(served)
    old = certificates.client("reader.example")
    (tmp_path / "key.pem").write_text("no key")
    assert not served.look()
    async with rig.channel(old) as channel:
        assert (await get(channel)).call_id == "reader"
    certificates.authority, certificates.client_authority = trustme.CA(), trustme.CA()
    certificates.issue()
    (tmp_path / "ca.pem").write_bytes(certificates.client_authority.cert_pem.bytes())
    assert served.look()
    async with rig.channel(certificates.client("reader.example")) as channel:
        assert (await get(channel)).call_id == "reader"
    async with rig.channel(old) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get(channel)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert rig.events == ["certificate can't be used: keeping the last good one", "certificate read again"]
    await rig.server.stop(0)


# -- limits


async def test_requests_of_strangers_are_not_read(rig: Rig) -> None:
    """Who is not known hears so before anything was sent, and so does who sends half a request."""
    async with rig.channel() as channel:
        path = "/infertap.v1.RecordService/GetRecord"
        call = channel.stream_unary(path)()  # the same on the wire, but that we say when its request comes
        async with asyncio.timeout(WAIT_SECONDS):
            assert await call.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_request_that_does_not_come(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is let in and sends no request is not waited for very long."""
    monkeypatch.setattr(guard_room, "REQUEST_SECONDS", 0.05)
    async with rig.channel() as channel:
        call = channel.stream_unary("/infertap.v1.RecordService/GetRecord")(metadata=bearer(READER))
        health_check = channel.stream_unary("/grpc.health.v1.Health/Check")()
        async with asyncio.timeout(WAIT_SECONDS):
            assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert await health_check.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_no_message(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    """What is no message of the method is refused as that, and not written to a log."""
    async with rig.channel() as channel:
        get_record = channel.unary_unary("/infertap.v1.RecordService/GetRecord")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_record(b"\xff\xff\xff", metadata=bearer(READER), timeout=WAIT_SECONDS)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert capfd.readouterr().err == ""


async def test_calls_of_one_identity_leave_room_for_others(tmp_path: Path) -> None:
    """Calls under way are bounded, and one identity has no more than its share of them."""
    rig = Rig(tmp_path, IDENTITIES + line("other", "read", "other-token"), most_calls=8)
    await rig.start()
    async with rig.channel() as channel:
        tails = []
        for _ in range(2):
            tails.append(
                v1.RecordServiceStub(channel).TailRecords(v1.TailRecordsRequest(), metadata=bearer(READER))
            )
            await tails[-1].read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get(channel, *bearer(READER))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await get(channel, *bearer("other-token"))).call_id == "other"
        call = v1.IngestServiceStub(channel).Ingest(metadata=bearer(WRITER))
        await call.write(v1.IngestRequest())
        assert await call.read()
        tails[0].cancel()
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                try:
                    await get(channel, *bearer(READER))
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.01)
    await rig.server.stop(0)


async def test_requests_are_small(rig: Rig) -> None:
    """What asks for something has no megabytes to say; nor does one caller send very many at a time."""
    async with rig.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get(channel, *bearer(READER), call_id="x" * (1 << 20))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        records = await asyncio.gather(*(get(channel, *bearer(READER)) for _ in range(50)))
        assert {each.call_id for each in records} == {"reader"}


async def test_half_requests_keep_only_their_sender_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who begins requests and does not end them waits behind them; others' are read."""
    monkeypatch.setattr(guard_room, "_MOST_READ", 1)
    rig = Rig(tmp_path, IDENTITIES + line("other", "read", "other-token"))
    await rig.start()
    path = "/infertap.v1.RecordService/GetRecord"
    async with rig.channel() as channel:
        half = channel.stream_unary(path)(metadata=bearer(READER))
        async with asyncio.timeout(WAIT_SECONDS):
            while "reader" not in rig.guard._turns:  # noqa: ASYNC110  (nothing tells)
                await asyncio.sleep(0.01)
        waiting = asyncio.create_task(get(channel, *bearer(READER)))
        assert (await get(channel, *bearer("other-token"))).call_id == "other"
        assert not waiting.done()
        half.cancel()
        assert (await waiting).call_id == "reader"
    await rig.server.stop(0)
