"""The relay's reports of calls in flight: once in full, then how far they came, at a bounded pace."""

import asyncio
from collections.abc import Callable

import pytest

from sidecar.exchange import Body, Exchange, Protocol
from sidecar.handoff import Begun, EndedUnrecorded, Inbox, Progress, Reported, Reports, Round, reports

WAIT_SECONDS = 20.0


class Recorder:
    """What the recorder's end of the hand-off is told; it can be full, and be started again."""

    def __init__(self) -> None:
        self.inbox = Inbox(0, 0)
        self.told: list[Begun | Reported | Round | EndedUnrecorded] = []
        self.has_room = True
        self.started = 1
        self.news = asyncio.Event()

    def send(self, packet: bytes) -> bool:
        self.news.set()
        if self.has_room:
            read = self.inbox.take_in_flight(packet)
            assert read is not None
            self.told.append(read)
        return self.has_room

    async def until(self, claim: Callable[[], bool]) -> None:
        """Wait until `claim` holds; asked again after each packet."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not claim():
                self.news.clear()
                await self.news.wait()

    def reported(self) -> list[int]:
        """The numbers of the calls that were told of in full, in order."""
        return [call.call_number for each in self.told if isinstance(each, Reported) for call in each.calls]

    def rows(self) -> list[Progress]:
        return [row for each in self.told if isinstance(each, Round) for row in each.rows]

    def ended(self) -> list[int]:
        return [
            number for each in self.told if isinstance(each, EndedUnrecorded) for number in each.call_numbers
        ]


def call(number: int, request: int = 0) -> Exchange:
    return Exchange(number, 0, Protocol.HTTP1, 0, request=Body(size=request))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "ROUND_SECONDS", 0.05)
    monkeypatch.setattr(reports, "STEP_SECONDS", 0.001)
    monkeypatch.setattr(reports, "RETRY_SECONDS", 0.002)


async def test_a_new_relay_says_so_first(recorder: Recorder) -> None:
    """The first packet ends what the predecessor had in flight."""
    telling = Reports(recorder.send, lambda: recorder.started)
    assert telling.begin(call(1))
    await recorder.until(lambda: bool(recorder.reported()))
    assert isinstance(recorder.told[0], Begun)
    telling.close()


async def test_once_in_full_then_progress(recorder: Recorder) -> None:
    """A call is told of in full once, and then how far it has come, round by round."""
    telling = Reports(recorder.send, lambda: recorder.started)
    open_call = call(1, request=10)
    assert telling.begin(open_call)
    await recorder.until(lambda: bool(recorder.rows()))
    assert recorder.rows()[0] == Progress(1, 10, 0, 0, -1)
    open_call.response.size, open_call.status, open_call.first_response_byte = 7, 200, 5
    await recorder.until(lambda: Progress(1, 10, 7, 200, 5) in recorder.rows())
    assert recorder.reported() == [1]
    rounds = [each.number for each in recorder.told if isinstance(each, Round)]
    assert rounds == sorted(rounds)
    telling.close()


async def test_ends(recorder: Recorder) -> None:
    """Only a call that was told of and has no record is told to have ended; none is told of again."""
    telling = Reports(recorder.send, lambda: recorder.started)
    calls = [call(number) for number in range(1, 4)]
    for each in calls[:2]:
        telling.begin(each)
    await recorder.until(lambda: recorder.reported() == [1, 2])
    telling.begin(calls[2])
    telling.end(calls[0], True)
    telling.end(calls[1], False)
    telling.end(calls[2], False)
    await recorder.until(lambda: recorder.ended() == [2])
    assert recorder.reported() == [1, 2]
    telling.close()


async def test_no_room(recorder: Recorder) -> None:
    """While the hand-off is full nothing is lost but time: reports and ends follow in order."""
    telling = Reports(recorder.send, lambda: recorder.started)
    await recorder.until(lambda: len(recorder.told) == 1)
    recorder.has_room = False
    calls = [call(number) for number in range(1, 60)]
    for each in calls:
        assert telling.begin(each)
    recorder.news.clear()
    await recorder.until(recorder.news.is_set)
    recorder.has_room = True
    await recorder.until(lambda: len(recorder.rows()) >= 59)
    assert recorder.reported() == list(range(1, 60))
    recorder.has_room = False
    telling.end(calls[4], False)
    recorder.news.clear()
    await recorder.until(recorder.news.is_set)
    recorder.has_room = True
    await recorder.until(lambda: recorder.ended() == [5])
    telling.close()


async def test_a_new_recorder_is_told_anew(recorder: Recorder) -> None:
    """A recorder that starts later knows nothing: every call that is open is told of in full again."""
    telling = Reports(recorder.send, lambda: recorder.started)
    calls = [call(number) for number in range(1, 4)]
    for each in calls:
        telling.begin(each)
    await recorder.until(lambda: len(recorder.rows()) >= 3)
    telling.end(calls[1], True)
    recorder.told.clear()
    recorder.started = 2
    await recorder.until(lambda: len(recorder.reported()) >= 2)
    assert sorted(recorder.reported()) == [1, 3]
    telling.close()


async def test_bounded(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the most that are told of, a call has to wait until another has ended."""
    monkeypatch.setattr(reports, "MOST_CALLS", 2)
    telling = Reports(recorder.send, lambda: recorder.started)
    first = call(1)
    assert [telling.begin(each) for each in (first, call(2), call(3))] == [True, True, False]
    telling.end(first, True)
    assert telling.begin(call(3))
    await recorder.until(lambda: recorder.reported() == [2, 3])
    telling.close()


async def test_a_turn_is_short(recorder: Recorder) -> None:
    """However many calls there are, one packet tells of a few."""
    telling = Reports(recorder.send, lambda: recorder.started)
    for number in range(1, 1001):
        telling.begin(call(number))
    await recorder.until(lambda: len({row.call_number for row in recorder.rows()}) == 1000)
    assert recorder.reported() == list(range(1, 1001))
    assert max(len(each.calls) for each in recorder.told if isinstance(each, Reported)) <= 24
    assert max(len(each.rows) for each in recorder.told if isinstance(each, Round)) <= 64
    telling.close()


async def test_segments_count_together(recorder: Recorder) -> None:
    """The bytes of a call are those of all its segments."""
    telling = Reports(recorder.send, lambda: recorder.started)
    telling.begin(call(1, request=10))
    await recorder.until(lambda: bool(recorder.rows()))
    telling.go_on(call(1, request=5))
    telling.go_on(call(1, request=3))
    await recorder.until(lambda: recorder.rows()[-1].request_bytes == 18)
    assert recorder.reported() == [1]
    telling.close()


async def test_last_ends_are_told_at_the_close(recorder: Recorder) -> None:
    """What ended last is told before the relay goes."""
    telling = Reports(recorder.send, lambda: recorder.started)
    open_call = call(1)
    telling.begin(open_call)
    await recorder.until(lambda: recorder.reported() == [1])
    telling.end(open_call, False)
    telling.close()
    assert recorder.ended() == [1]
    assert not telling.begin(call(2))
