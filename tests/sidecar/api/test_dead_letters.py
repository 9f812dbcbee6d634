"""Dead letters as a sidecar's API lists, shows and resends them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from infertap import v1
from infertap.settings import Address
from sidecar.api import Api
from sidecar.in_flight import InFlight
from sidecar.spool import Spool

WAIT_SECONDS = 15.0


@dataclass
class Served:
    """A spool with five records, of which 2, 3 and 5 are dead, and its API."""

    spool: Spool
    stub: Any
    woken: list[int]

    async def page(self, **asked: Any) -> v1.ListDeadLettersResponse:
        request = v1.ListDeadLettersRequest(**asked)
        found: v1.ListDeadLettersResponse = await self.stub.ListDeadLetters(request, timeout=WAIT_SECONDS)
        return found

    async def refused(self, method: str, request: Any) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(self.stub, method)(request, timeout=WAIT_SECONDS)
        return caught.value


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    spool = Spool.open(tmp_path / "spool", 16 << 20, ring=False)
    records = [
        v1.Record(call_id=f"call {number}", method="POST").SerializeToString() for number in range(1, 5)
    ]
    spool.append([(number.to_bytes(16), record) for number, record in enumerate([*records, b"\xff"], 1)])
    for number in (2, 3, 5):
        spool.dead_letter(number, f"no {number}")
    woken: list[int] = []
    api = Api(spool, InFlight(), Address("127.0.0.1", 0), resent=lambda: woken.append(1))
    await api.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{api.port}") as channel:
        yield Served(spool, v1.SpoolServiceStub(channel), woken)
    await api.stop()
    spool.close()


async def test_list_page_by_page(served: Served) -> None:
    """Each is there with sequence, call, reason and size, and nothing of its payload."""
    first = await served.page(page_size=2)
    assert [each.sequence for each in first.dead_letters] == [2, 3]
    assert first.dead_letters[0] == v1.DeadLetter(
        sequence=2,
        call_id="00000000-0000-0000-0000-000000000002",
        reason="no 2",
        size_bytes=len(v1.Record(call_id="call 2", method="POST").SerializeToString()),
    )
    assert (first.spool_id, first.total) == (served.spool.spool_id, 3)
    second = await served.page(page_size=2, page_token=first.next_page_token)
    assert [each.sequence for each in second.dead_letters] == [5]
    last = await served.page(page_size=2, page_token=second.next_page_token)
    assert (list(last.dead_letters), last.next_page_token) == ([], "")


async def test_show(served: Served) -> None:
    """One in full, with what only its server knows; what is no record is told without one."""
    shown = await served.stub.GetDeadLetter(v1.GetDeadLetterRequest(sequence=2))
    assert shown.dead_letter.reason == "no 2"
    expected = v1.Record(call_id="call 2", method="POST", sequence=2, spool_id=served.spool.spool_id)
    assert shown.record == expected
    shown = await served.stub.GetDeadLetter(v1.GetDeadLetterRequest(sequence=5))
    assert shown.dead_letter.size_bytes == 1
    assert not shown.HasField("record")
    error = await served.refused("GetDeadLetter", v1.GetDeadLetterRequest(sequence=4))
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_resend(served: Served) -> None:
    """Those that are named, or all, are pending again, and the forwarder is woken."""
    asked = v1.ResendDeadLettersRequest(sequences=[2, 4, 900])
    assert (await served.stub.ResendDeadLetters(asked)).resent == 1
    assert (served.spool.account().dead_lettered, served.woken) == (2, [1])
    assert (await served.stub.ResendDeadLetters(v1.ResendDeadLettersRequest(all=True))).resent == 2
    account = served.spool.account()
    assert (account.dead_lettered, account.pending) == (0, 5)
    assert (await served.page()).total == 0


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("ListDeadLetters", v1.ListDeadLettersRequest(page_token="AAAA"), "page_token"),
        ("ListDeadLetters", v1.ListDeadLettersRequest(page_size=-1), "page_size"),
        ("GetDeadLetter", v1.GetDeadLetterRequest(), "sequence"),
        ("GetDeadLetter", v1.GetDeadLetterRequest(sequence=(1 << 64) - 1), "sequence"),
        ("ResendDeadLetters", v1.ResendDeadLettersRequest(), "sequences"),
        ("ResendDeadLetters", v1.ResendDeadLettersRequest(sequences=[1], all=True), "sequences"),
        ("ResendDeadLetters", v1.ResendDeadLettersRequest(sequences=[(1 << 64) - 1]), "sequences"),
        ("ResendDeadLetters", v1.ResendDeadLettersRequest(sequences=range(1, 10_002)), "sequences"),
    ],
)
async def test_refused(served: Served, method: str, request_: Any, field: str) -> None:
    """What can't be asked is INVALID_ARGUMENT, with the field, and changes nothing."""
    error = await served.refused(method, request_)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.details() or "").startswith(field)
    assert served.spool.account().dead_lettered == 3


async def test_token_of_another_spool(served: Served, tmp_path: Path) -> None:
    """A token goes with its spool: another one numbers other records."""
    page = await served.page(page_size=1)
    other = Spool.open(tmp_path / "other", 16 << 20, ring=False)
    api = Api(other, InFlight(), Address("127.0.0.1", 0))
    await api.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{api.port}") as channel:
        elsewhere = Served(other, v1.SpoolServiceStub(channel), [])
        request = v1.ListDeadLettersRequest(page_token=page.next_page_token)
        error = await elsewhere.refused("ListDeadLetters", request)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    await api.stop()
    other.close()
