"""The Kafka sink against librdkafka's mock cluster, in a process of its own."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest
from confluent_kafka import KafkaError

from storage.sinks import Batch, SinkError
from storage.sinks.kafka import KafkaSink, read_kind
from storage.sinks.kafka_messages import Form
from storage.sinks.sink_table import SinkTable
from tests.storage.sinks.mock_brokers import MockBrokers, consumed, mock_brokers

TOPIC = "calls"


@pytest.fixture
def brokers() -> Iterator[MockBrokers]:
    with mock_brokers() as started:
        yield started


async def opened(brokers: str, **settings: object) -> KafkaSink:
    table = SinkTable("events", {"brokers": brokers, "topic": TOPIC, "timeout": "20s", **settings})
    sink = await read_kind(table)()
    table.end()
    assert isinstance(sink, KafkaSink)
    return sink


async def test_a_batch_is_delivered_once_brokers_have_it(brokers, served) -> None:
    """Every record is in the topic when deliver returns, once, and so is the next batch's."""
    sink = await opened(brokers.addresses)
    records = [served(each) for each in range(1, 301)]
    assert await sink.deliver(Batch(records[:200], 1)) == []
    assert await sink.deliver(Batch(records[200:], 2)) == []
    await sink.close()
    await sink.close()
    found = await asyncio.to_thread(consumed, brokers.addresses, TOPIC)
    ids = [each["infertap-record"].decode().rpartition("-")[2] for each in found]
    assert sorted(map(int, ids)) == list(range(1, 301))


async def test_a_record_that_is_too_large_is_refused(brokers, served) -> None:
    """It is told with its reason, which quotes nothing of it, and all others arrive."""
    sink = await opened(brokers.addresses, message_bytes="20KiB")
    records = [served(1), served(2, request__data=os.urandom(30_000)), served(3)]
    refused = await sink.deliver(Batch(records))
    await sink.close()
    assert [(each.index, each.reason) for each in refused] == [(1, "message too large")]
    found = await asyncio.to_thread(consumed, brokers.addresses, TOPIC)
    assert len(found) == 2


async def deliver_in_the_end(sink: KafkaSink, batch: Batch) -> None:
    """Again and again, as the second that it has may be too short on a busy machine."""
    for _ in range(20):
        with suppress(SinkError):
            assert await sink.deliver(batch) == []
            return
    raise AssertionError("never delivered")


async def test_brokers_that_hang_and_come_back(brokers, served) -> None:
    """While they hang the loop runs on and the batch fails in time; once they are back it is delivered."""
    sink = await opened(brokers.addresses, timeout="1s")
    await deliver_in_the_end(sink, Batch([served(1)], 1))
    brokers.hang()
    trying = asyncio.create_task(sink.deliver(Batch([served(2)], 2)))
    with pytest.raises(SinkError, match="no broker"):
        await trying
    brokers.go_on()
    await deliver_in_the_end(sink, Batch([served(2)], 2))
    await sink.close()
    found = await asyncio.to_thread(consumed, brokers.addresses, TOPIC)
    # What hung may have arrived before: the record's id tells.
    assert {each["infertap-record"].rpartition(b"-")[2] for each in found} == {b"1", b"2"}


async def test_brokers_that_are_gone(brokers, served) -> None:
    """A killed cluster is a SinkError that says that nobody answers, and where."""
    sink = await opened(brokers.addresses, timeout="1s")
    brokers.kill()
    with pytest.raises(SinkError, match=f"^{brokers.addresses}: no broker answers$"):
        await sink.deliver(Batch([served(1)]))
    await sink.close()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "unknown topic"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "not allowed to write to the topic"),
    ],
)
async def test_a_topic_that_is_not_to_be_written(brokers, served, code: int, said: str) -> None:
    """It is told by name and refuses no record: it is made, or opened to us, and then they arrive."""
    brokers.fail_topic(TOPIC, code)
    sink = await opened(brokers.addresses, timeout="2s")
    with pytest.raises(SinkError, match=said):
        await sink.deliver(Batch([served(1)]))
    brokers.fail_topic(TOPIC, KafkaError.NO_ERROR)
    assert await sink.deliver(Batch([served(1)])) == []
    await sink.close()


async def test_brokers_that_lack_replicas(brokers, served) -> None:
    """What is not on all replicas in sync has not arrived: librdkafka tries on, and it arrives once."""
    brokers.fail_produce(KafkaError.NOT_ENOUGH_REPLICAS, 2)
    sink = await opened(brokers.addresses)
    assert await sink.deliver(Batch([served(1)])) == []
    await sink.close()
    assert len(await asyncio.to_thread(consumed, brokers.addresses, TOPIC)) == 1


async def test_requests_that_are_too_large_for_the_topic(brokers, served) -> None:
    """A broker refuses them whole: records that fit alone arrive, once."""
    brokers.fail_produce(KafkaError.MSG_SIZE_TOO_LARGE, 1)
    sink = await opened(brokers.addresses)
    assert await sink.deliver(Batch([served(each) for each in range(1, 51)])) == []
    await sink.close()
    found = await asyncio.to_thread(consumed, brokers.addresses, TOPIC)
    assert len(found) == len({each["infertap-record"] for each in found}) == 50


async def test_a_delivery_can_be_cancelled(brokers, served) -> None:
    """A batch that is given up holds up neither the next one nor the end."""
    sink = await opened(brokers.addresses, timeout="300s")
    brokers.hang()
    trying = asyncio.create_task(sink.deliver(Batch([served(1)], 1)))
    while sink._producer is None:  # noqa: ASYNC110  its thread tells nobody
        await asyncio.sleep(0.01)
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying
    brokers.go_on()
    assert await sink.deliver(Batch([served(1)], 1)) == []
    await sink.close()


async def test_it_ends_while_brokers_hang(brokers, served) -> None:
    """Whoever stops storage does not wait for brokers."""
    sink = await opened(brokers.addresses, timeout="300s")
    await deliver_in_the_end(sink, Batch([served(1)], 1))
    brokers.hang()
    trying = asyncio.create_task(sink.deliver(Batch([served(2)], 2)))
    done, _ = await asyncio.wait({trying}, timeout=0.3)
    assert not done
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying
    async with asyncio.timeout(10):
        await sink.close()


class StrictBroker:
    """Refuses a request as a whole for one record in it; keeps what it took."""

    def __init__(self, guilty: int, code: int, beside: int) -> None:
        self.guilty, self.code, self.beside = guilty, code, beside
        self.kept: list[int] = []

    def send(self, messages, given_up) -> dict[int, int | None]:
        came = [index for index, _ in messages]
        if self.guilty not in came:
            self.kept += came
            return dict.fromkeys(came)
        return {index: self.code if index == self.guilty else self.beside for index in came}

    def kind_of(self, failed: set[int]) -> str:
        return str(failed)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("code", "beside", "reason"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.MSG_SIZE_TOO_LARGE, "message too large"),
        (KafkaError.INVALID_RECORD, KafkaError._INVALID_DIFFERENT_RECORD, "invalid record"),
    ],
)
async def test_who_was_beside_the_guilty_one_is_not_refused(served, code, beside, reason) -> None:
    """A broker refuses a request for one record in it: each is tried alone, and all others arrive once."""
    broker = StrictBroker(2, code, beside)
    sink = KafkaSink("events", Form(), lambda: broker)
    refused = await sink.deliver(Batch([served(each) for each in range(1, 6)]))
    await sink.close()
    assert [(each.index, each.reason) for each in refused] == [(2, reason)]
    assert broker.kept == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"brokers": ""}, "brokers"),
        ({"key": "prompt"}, "key"),
        ({"security": "sasl_ssl"}, "username, password_file"),
        ({"username": "me"}, "username, password_file"),
        ({"ca_file": "/nowhere/ca.pem"}, "security"),
        ({"security": "ssl", "ca_file": "/nowhere/ca.pem"}, "ca_file"),
        ({"properties": {"sasl.password": "secret"}}, "not for you"),
        ({"properties": {"acks": "0"}}, "not for you"),
        ({"properties": {"request.required.acks": "0"}}, "not for you"),
        ({"properties": {"test.mock.num.brokers": "1"}}, "not for you"),
        ({"properties": {"no.such": "1"}}, "No such configuration property"),
        ({"properties": {"retry.backoff.ms": "secret"}}, "not as librdkafka takes them"),
    ],
)
def test_settings_that_can_not_be(settings: dict[str, object], said: str) -> None:
    """They are told at the start, by their names and without their values."""
    with pytest.raises(ValueError, match=said) as caught:
        read_kind(SinkTable("events", {"brokers": "127.0.0.1:1", "topic": TOPIC, **settings}))
    assert "secret" not in str(caught.value)
